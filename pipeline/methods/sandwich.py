"""The slots of a sandwich: the full model, the smallest subnet, and others between them (BigNAS, §3.1)."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.methods.draws import Largest, Smallest
from pipeline.methods.losses import Loss
from pipeline.methods.phases import FULL, SlotRule, unscaled
from pipeline.methods.sampling import SamplingConfig
from pipeline.supernet.space import Space


def sandwich(
    space: Space,
    labels: Loss,
    taught: Loss,
    sampling: SamplingConfig,
    count: int,
    scale: Callable[[int], float] = unscaled,
) -> tuple[SlotRule, ...]:
    """The full model, which learns by `labels`; then the smallest and `count` others, by `taught`.

    Args:
        sampling: how the others are found.
        scale: factor of the losses of all but the full model.
    """
    smallest = SlotRule("smallest", Smallest(space), taught, scale)
    return (full_model(space, labels), smallest, *(sampling.slot(space, labels, taught, scale),) * count)


def full_model(space: Space, labels: Loss) -> SlotRule:
    """The full model, learning by `labels`."""
    return SlotRule(FULL, Largest(space), labels)
