"""A packed data set on disk: its manifest, index and shards, read at any place, and checked."""
