"""Sharded WebDataset input: packing, the index, the sampler, augmentation and the readers."""

DISTRIBUTION = "delayed-epsilon-shrinking"
