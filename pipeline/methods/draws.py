"""What is drawn for a step: a pure function of (seed, step, what for), so that processes agree without talking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from data_shards.randomness import Purpose
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet


class Key(NamedTuple):
    """Of what a slot's subnet is drawn: the run's seed, the global step, and the slot's place in the step."""

    seed: int
    step: int
    slot: int


class Draw(Protocol):
    """The subnet of a slot, at whatever resolution: the step's own takes its place."""

    def __call__(self, key: Key) -> Subnet: ...


@dataclass(frozen=True)
class Largest:
    """Always the full model."""

    space: Space

    def __call__(self, key: Key) -> Subnet:
        return self.space.largest()


@dataclass(frozen=True)
class Smallest:
    """Always the smallest subnet."""

    space: Space

    def __call__(self, key: Key) -> Subnet:
        return self.space.smallest()


@dataclass(frozen=True)
class Uniform:
    """Every choice of the space drawn independently and uniformly."""

    space: Space

    def __call__(self, key: Key) -> Subnet:
        bits = step_bits(key.seed, key.step, Purpose.SUBNET + key.slot)
        return self.space.sample(torch.Generator().manual_seed(bits))


def step_bits(seed: int, step: int, *purpose: int) -> int:
    """64 random bits for one purpose of a step.

    Args:
        purpose: a `Purpose`, and whatever tells its draws apart.
    """
    return int(np.random.SeedSequence([seed, step, *purpose]).generate_state(1, np.uint64)[0])
