"""What is drawn for a step: a pure function of (seed, step, purpose), so that processes agree without talking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch

from data_shards.randomness import Of, Purpose
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet


class Key(NamedTuple):
    """What a slot's subnet is drawn from.

    Attributes:
        seed: of the run.
        step: of the run, from 0.
        slot: its place in the step.
        candidate: which of several, in a slot that picks one of them.
    """

    seed: int
    step: int
    slot: int
    candidate: int = 0

    @property
    def generator(self) -> torch.Generator:
        """Random numbers for the slot, the same for all of its candidates."""
        return torch.Generator().manual_seed(step_bits(self.seed, self.step, Purpose.SUBNET, self.slot))


class Draw(Protocol):
    """The subnet of a slot, at whatever resolution where that is the step's."""

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
class Fixed:
    """Always the same subnet."""

    subnet: Subnet

    def __call__(self, key: Key) -> Subnet:
        return self.subnet


@dataclass(frozen=True)
class Uniform:
    """Every choice of the space drawn independently and uniformly."""

    space: Space

    def __call__(self, key: Key) -> Subnet:
        return self.space.sample(key.generator)


@dataclass(frozen=True)
class Predicted:
    """Of several draws the one that is predicted the highest or the lowest accuracy; of equal ones the first.

    AttentiveNAS's BestUp and WorstUp by a predictor (Wang et al., CVPR 2021, §3.1).

    Attributes:
        draw: of each candidate.
        candidates: how many.
        which: `best`, of the highest accuracy, or `worst`.
        accuracy: what is predicted for a subnet.
    """

    draw: Draw
    candidates: int
    which: Literal["best", "worst"]
    accuracy: Callable[[Subnet], float]

    def __call__(self, key: Key) -> Subnet:
        drawn = [self.draw(key._replace(candidate=candidate)) for candidate in range(self.candidates)]
        return (max if self.which == "best" else min)(drawn, key=self.accuracy)


def step_bits(seed: int, step: int, purpose: Purpose, which: int | None = None) -> int:
    """64 random bits for one purpose of a step, by NumPy's SeedSequence, whose values are fixed for good.

    Args:
        seed: of the run.
        which: the slot that a subnet is drawn for, below 2^16; the rank whose features are dropped.
    """
    assert purpose.of is Of.STEP, purpose
    assert (purpose is Purpose.RESOLUTION) == (which is None), f"{purpose} of {which}"
    numbers = [number for number in (purpose.number, which) if number is not None]
    return int(np.random.SeedSequence([seed, step, *numbers]).generate_state(1, np.uint64)[0])
