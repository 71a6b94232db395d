"""A runtime that is made up: what networks take follows from their weights, so that tables of it are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.latency.build import Asked, Progress, build, identity
from pipeline.latency.kept_rounds import KeptRounds
from pipeline.latency.rounds import StopRule
from pipeline.latency.table import Table
from pipeline.supernet.space import Space

CALL, PER_WEIGHT, PER_ELEMENT = 2e-5, 1e-9, 3e-9  # seconds
RULE = StopRule(wanted=0.05, usable=0.2, least=30, most=60)


@dataclass
class MadeUp:
    """Seconds are those of a call, of the weights, and of the tensors that go in and out.

    Attributes:
        dies_after: runs after which it is killed.
        prepared: how many networks were.
    """

    noise: float = 0.001
    dies_after: int | None = None
    name: str = "onnxruntime"
    version: str = "0"
    clock: str = "made up"
    prepared: int = 0
    ran: int = 0
    _generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def prepare(self, network: nn.Module, x: Tensor) -> Callable[[], float]:
        self.prepared += 1
        with torch.no_grad():
            output = network(x)
        weights = sum(each.numel() for each in network.parameters())
        seconds = CALL + PER_WEIGHT * weights + PER_ELEMENT * (x.numel() + output.numel())
        return lambda: self._run(seconds)

    def _run(self, seconds: float) -> float:
        if self.ran == self.dies_after:
            raise KeyboardInterrupt
        self.ran += 1
        return seconds * (1 + self.noise * self._generator.exponential())


def asked(space: Space, batch: int = 1) -> Asked:
    return Asked(space, threads=1, batch=batch, machine="a machine")


def built(space: Space, folder: Path, runtime: MadeUp, batch: int = 1) -> Table:
    silent = Progress(lambda *_: None, lambda *_: None)
    with KeptRounds(folder / "table.json", identity(asked(space, batch), runtime)) as kept:
        return build(asked(space, batch), runtime, kept, silent, RULE)
