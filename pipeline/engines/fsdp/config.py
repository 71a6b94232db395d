"""The recipe's `engine` for torch's FSDP2."""

from __future__ import annotations

from typing import Literal

from pipeline.engines.config import BaseEngineConfig
from pipeline.engines.optimizer import OptimizerConfig
from pipeline.engines.protocol import Engine
from pipeline.supernet.supernet import Supernet


class FsdpConfig(BaseEngineConfig, frozen=True):
    """FSDP2, block by block."""

    name: Literal["fsdp"] = "fsdp"

    @property
    def shards_weights(self) -> bool:
        return True

    def all_reduces(self, subnets: int) -> float:
        return subnets + 0.5  # weights gathered in each forward and backward pass, gradients scattered after the last

    def build(self, supernet: Supernet, optimizer: OptimizerConfig, batch_per_process: int) -> Engine:
        from pipeline.engines.fsdp.engine import FsdpEngine

        return FsdpEngine(supernet, optimizer)
