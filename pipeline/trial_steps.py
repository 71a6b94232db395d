"""How long a step of each phase takes on this machine: trial steps on random images, measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import cycle
from statistics import fmean, median

import torch
from torch import Tensor

from pipeline.engines.base import Engine
from pipeline.engines.processes import Processes
from pipeline.training.losses import LossConfig
from pipeline.training.sandwich import sandwich_step
from pipeline.training.schedule import Phase, Role, Schedule, StepPlan

# Of one phase at one resolution: as many as it takes to see past what else the machine does, where steps are short.
_LEAST_STEPS = 2
_SECONDS = 1.0


def seconds_per_step(
    engine: Engine, schedule: Schedule, processes: Processes, count: int, loss: LossConfig, seed: int
) -> dict[tuple[Role, ...], float]:
    """Seconds of a step of `count` images per process, by the roles of the subnets it trains; a mean over resolutions.

    The engine's weights are changed.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(schedule.space.classes, (count,), generator=generator).to(processes.device)
    sides = schedule.space.resolutions
    batches = [torch.randn(count, 3, side, side, generator=generator).to(processes.device) for side in sides]
    phases = {phase.roles: phase for phase in schedule.phases}  # the ramp trains what the supernet's phase does
    return {
        roles: fmean(_seconds(engine, _plans(schedule, phase), images, labels, loss) for images in batches)
        for roles, phase in phases.items()
    }


def _plans(schedule: Schedule, phase: Phase) -> Iterator[StepPlan]:
    """Those of the phase's steps, again and again: their subnets differ in size."""
    return cycle(map(schedule.at, range(phase.start, phase.end)))


def _seconds(engine: Engine, plans: Iterator[StepPlan], images: Tensor, labels: Tensor, loss: LossConfig) -> float:
    def step() -> float:
        began = time.perf_counter()
        float(sandwich_step(engine, next(plans), images, labels, loss).gradient_norm)  # waits for the device
        return time.perf_counter() - began

    step()  # warms up
    seconds = [step()]
    while len(seconds) < _LEAST_STEPS or sum(seconds) < _SECONDS:
        seconds.append(step())
    return median(seconds)
