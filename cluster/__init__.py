"""Running on SLURM clusters: job folders from templates, their submission, and the status of runs."""

DISTRIBUTION = "delayed-epsilon-shrinking"
