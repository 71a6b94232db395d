"""The training state on disk: written beside the training, checked when read, and taken up by all processes."""
