"""Timing of whole steps: contenders in turns, and a subnet's first step against its later ones."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from data_shards.loading.batch_reader import Batch
from kernels.bench.timing import Clock
from pipeline.bench.contenders import StepContender, SupernetStep, fed
from pipeline.methods.losses import LossConfig
from pipeline.methods.phases import Slot
from pipeline.training.sandwich import sandwich_step

FRESH_SUBNETS = 6
_SEEN_STEPS = 2


def median_seconds(
    contenders: Mapping[str, StepContender],
    batch: Batch,
    device: torch.device,
    repeats: int,
    advance: Callable[[], None],
) -> dict[str, float]:
    """Median seconds of a step of each contender; all take one step before any of them takes its next.

    Args:
        batch: from whose bytes a step begins: feeding them to the device is a part of it, for all alike.
        advance: called after each step.
    """
    clock = Clock(device, flush=False)

    def step(contender: StepContender) -> None:
        images, labels = fed(batch, device)
        contender.step(contender.lay_out(images), labels)

    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(1 + repeats):  # the first one warms up
        for name, contender in contenders.items():
            taken, _ = clock.time(lambda contender=contender: step(contender))
            seconds[name].append(taken)
            advance()
    return {name: statistics.median(values[1:]) for name, values in seconds.items()}


def first_steps(ours: SupernetStep, images: Tensor, labels: Tensor, advance: Callable[[], None]) -> dict[str, Any]:
    """The first step of subnets that this process has never trained, against the same subnets' next ones.

    A step here is of that subnet alone. Nothing may be compiled or tuned for it, or training would never get fast.
    """
    space, clock, images = ours.engine.supernet.space, Clock(images.device, flush=False), ours.lay_out(images)
    generator = torch.Generator().manual_seed(2**31)  # the plan's random subnets are others
    unseen, seen = [], []
    for _ in range(FRESH_SUBNETS):
        slot = Slot("random", space.sample(generator), LossConfig().of_labels(), 1.0)
        plan = replace(ours.plan, slots=(slot,))
        first, *later = (
            clock.time(lambda plan=plan: sandwich_step(ours.engine, plan, images, labels))[0]
            for _ in range(1 + _SEEN_STEPS)
        )
        unseen.append(first)
        seen.append(statistics.median(later))
        advance()
    ratios = [first / later for first, later in zip(unseen, seen, strict=True)]
    return {
        "subnets": FRESH_SUBNETS,
        "unseen_seconds": statistics.median(unseen),
        "seen_seconds": statistics.median(seen),
        "unseen_to_seen_ratio": statistics.median(ratios),
        "unseen_to_seen_ratio_worst": max(ratios),
    }
