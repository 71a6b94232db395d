"""Checkpoints in the layouts that others have published: read, recognised, and written."""
