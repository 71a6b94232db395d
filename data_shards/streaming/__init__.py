"""Shards read from one end to the other, for storage where random access is slow."""
