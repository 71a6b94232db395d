"""A run's description, where a test needs any."""

from datetime import datetime, timezone

from pipeline.run.description import RunDescription

DESCRIPTION = RunDescription(
    name="run",
    approach="DεpS",
    seed=0,
    steps=20,
    steps_per_epoch=10,
    epochs=2.0,
    batch_size=64,
    world_size=2,
    engine="deepspeed",
    kernels="reference",
    dataset="digits",
    data={},
    classes=10,
    phases=(),
    versions={"torch": "2.13.0"},
    machine="2 CPU cores, 8 GB",
    started=datetime(2026, 1, 1, tzinfo=timezone.utc),
)
