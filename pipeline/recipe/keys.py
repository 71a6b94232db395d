"""Which keys of a recipe change what is trained. In the others, a resumed run and seeds of one approach may differ."""

from __future__ import annotations

# Damaged samples apart: a run that failed for one may go on by skipping it.
NOT_TRAINED = (
    "runs",
    "engine",
    "model.activation_checkpointing",
    "tracking",
    "cost",
    "checkpoint",
    "evaluation",
    "log_every",
    "data.shards",
    "data.workers",
    "data.prefetch",
    "data.on_corrupt",
    "data.max_corrupt",
)


def is_trained(key: str) -> bool:
    """Whether another value of `key`, dotted, trains other weights."""
    return not any(key == each or key.startswith(f"{each}.") for each in NOT_TRAINED)
