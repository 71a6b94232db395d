"""Data sets in shards: packed as WebDataset tars with an index and checksums, and read in batches for training."""

DISTRIBUTION = "delayed-epsilon-shrinking"
