"""What every engine's configuration has, and what it tells of its engine: processes, sharding, traffic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pydantic import BaseModel, Field, model_validator

from pipeline.engines.optimizer import OptimizerConfig
from pipeline.engines.protocol import Engine
from pipeline.supernet.supernet import Supernet

# Keys of DeepSpeed that earlier versions wrote into the recipe of every run, at these values for the other engines.
_ONCE_OF_ALL = {"zero_stage": 0, "deepspeed": {}}


class BaseEngineConfig(BaseModel, ABC, extra="forbid", frozen=True):
    """The recipe's `engine`; each engine's own configuration adds its keys, and lies beside the engine."""

    name: str
    lost_after: float = Field(
        default=60, ge=5, description="seconds without a sign of life after which a process is given up, and the run"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_what_was_once_of_all(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        once = {key for key, value in _ONCE_OF_ALL.items() if key in content and content[key] == value}
        return {key: value for key, value in content.items() if key in cls.model_fields or key not in once}

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name

    @property
    def shards_weights(self) -> bool:
        """Whether weights are sharded, so that each is whole, and at one address, only while it is used."""
        return False

    def check_processes(self, count: int) -> None:
        """Raises EngineError where the engine cannot run on `count` processes."""

    @abstractmethod
    def all_reduces(self, subnets: int) -> float:
        """What is sent in a step of `subnets` sub-steps, in all-reduces of all gradients.

        An all-reduce is a reduce-scatter and a gathering, half of it each. `README.md` counts the calls.
        """

    @abstractmethod
    def build(self, supernet: Supernet, optimizer: OptimizerConfig, batch_per_process: int) -> Engine:
        """The engine around a supernet that is on its device.

        Args:
            batch_per_process: samples of one sub-step on each process.

        Raises:
            EngineError: where the engine cannot run here.
        """
