"""Packs a source into shards, indexes and a manifest."""
