"""A SLURM of two nodes on this machine, for the tests."""
