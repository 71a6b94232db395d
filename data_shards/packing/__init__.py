"""From a source to shards, index and manifest."""
