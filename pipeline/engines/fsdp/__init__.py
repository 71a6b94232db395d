"""torch's FSDP2: its configuration apart from the engine, which takes a second to import."""
