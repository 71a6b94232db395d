"""Running on clusters: launcher configurations and job templates."""

DISTRIBUTION = "delayed-epsilon-shrinking"
