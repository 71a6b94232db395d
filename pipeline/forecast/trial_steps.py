"""How long a step of each phase takes on this machine: trial steps on made-up batches, measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from statistics import fmean, median

import numpy as np
import torch

from data_shards.augmentation.config import Augmentation
from data_shards.augmentation.draws import draw_for_device
from data_shards.loading.batch_reader import Batch
from data_shards.randomness import Draws
from pipeline.engines.protocol import Engine
from pipeline.errors import UsageError
from pipeline.methods.entries import enter
from pipeline.methods.phases import Phase, StepPlan
from pipeline.methods.schedule import Schedule
from pipeline.processes.group import Processes
from pipeline.recipe.recipe import Recipe
from pipeline.training.feed import to_device
from pipeline.training.sandwich import sandwich_step

# Of one phase at one resolution: as many as it takes to see past what else the machine does, where steps are short.
_WARM_UP_STEPS = 1
_LEAST_STEPS = 2
_SECONDS = 1.0
_MOST_SIDES = 4


def seconds_per_step(
    recipe: Recipe, engine: Engine, schedule: Schedule, processes: Processes, count: int
) -> dict[str, float]:
    """Seconds of a step of `count` images per process, by the name of its phase; a mean over resolutions, or over four.

    A step is all that training does with a batch from the reader's bytes on. The engine's weights are changed.
    """
    augmentation, classes = recipe.data.augmentation, schedule.space.classes
    batches = [made_up_batch(count, side, classes, augmentation) for side in _apart(schedule.space.image_sides)]

    def step(plan: StepPlan, batch: Batch) -> None:
        images, labels = to_device(batch, processes.device, augmentation, classes)
        float(sandwich_step(engine, plan, images, labels).gradient_norm)  # waits for the device

    seconds = {}
    for phase in schedule.phases:
        if phase.enter:  # what its steps need may come from there, as a teacher does
            enter(engine, phase.enter)
        seconds[phase.name] = fmean(_seconds(step, _plans(schedule, phase), batch) for batch in batches)
    return seconds


def made_up_batch(count: int, side: int, classes: int, augmentation: Augmentation) -> Batch:
    """A batch as a reader hands it over, of noise; always the same.

    Raises:
        UsageError: for an odd `count` that is to be mixed.
    """
    if augmentation.mixes and count % 2:
        raise UsageError(f"batch_size: mixup and cutmix pair the samples of a process, and {count} have no pairs")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, side, side, 3), generator=generator, dtype=torch.uint8)
    labels = torch.randint(classes, (count,), generator=generator)
    ids = np.arange(count)
    draws = torch.from_numpy(draw_for_device(augmentation, Draws(0, 0, ids), side))
    batch = Batch(images, labels, torch.from_numpy(ids), draws)
    return Batch(*(part.pin_memory() for part in batch)) if torch.cuda.is_available() else batch


def in_pairs(count: int) -> int:
    """As many images, or one fewer, as can be mixed in pairs."""
    return max(count - count % 2, 1)


def _apart(sides: tuple[int, ...]) -> list[int]:
    """All sides, or as many as are measured in a reasonable time: evenly apart, from the smallest to the largest."""
    count = min(len(sides), _MOST_SIDES)
    return [sides[round(place * (len(sides) - 1) / max(count - 1, 1))] for place in range(count)]


def _plans(schedule: Schedule, phase: Phase) -> Iterator[StepPlan]:
    """Those of the phase's steps, again and again: their subnets differ in size."""
    return cycle(map(schedule.at, range(phase.start, phase.end)))


def _seconds(step: Callable[[StepPlan, Batch], None], plans: Iterator[StepPlan], batch: Batch) -> float:
    def timed() -> float:
        plan = next(plans)
        began = time.perf_counter()
        step(plan, batch)
        return time.perf_counter() - began

    for _ in range(_WARM_UP_STEPS):
        timed()
    seconds = [timed()]
    while len(seconds) < _LEAST_STEPS or sum(seconds) < _SECONDS:
        seconds.append(timed())
    return median(seconds)
