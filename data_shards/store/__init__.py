"""A packed data set on disk: manifest, index and shards, read at any place and checked."""
