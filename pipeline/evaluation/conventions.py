"""How a supernet is evaluated that has no recipe: by the conventions of its network's authors."""

from __future__ import annotations

from pathlib import Path

from data_shards.config import DataConfig
from pipeline.evaluation.config import EvaluationConfig
from pipeline.supernet.space import Space


def conventions(space: Space, shards: Path) -> tuple[DataConfig, EvaluationConfig]:
    """How images of `shards` are shown to the subnets of `space`, and on how many they are recalibrated."""
    return DataConfig(shards=shards), EvaluationConfig()
