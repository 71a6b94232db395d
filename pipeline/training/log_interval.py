"""Figures of the steps since the last log line, read from the device once per line and not once per step.

A step only launches its work; the device does it later. So a line waits for all steps since the last one, and their
time is measured from the beginning of the first to the end of that wait.
"""

from __future__ import annotations

import math
import time
from itertools import groupby
from typing import NamedTuple

import torch

from pipeline.errors import RunFailure
from pipeline.methods.phases import StepPlan
from pipeline.processes.group import Processes
from pipeline.tracking.ledger import Ledger
from pipeline.training.sandwich import StepResult


class NotFinite(RunFailure):
    """A loss or gradient that is not finite; raised on all processes, with the same message."""


class _Figures(NamedTuple):
    """Of one step, on the host."""

    plan: StepPlan
    losses: list[float]  # by slot
    gradient_norm: float
    correct: int | None


class LogInterval:
    """Collects step results until `read`.

    Args:
        batch_size: global; to tell images per second and accuracy.
        ledger: charged with what a phase's steps make the host wait for them.
    """

    def __init__(self, processes: Processes, batch_size: int, ledger: Ledger) -> None:
        self.processes = processes
        self.batch_size = batch_size
        self.ledger = ledger
        self._on_device: list[tuple[StepPlan, StepResult]] = []
        self._figures: list[_Figures] = []
        self._began: float | None = None
        self._waited_seconds = 0.0

    def add(self, plan: StepPlan, result: StepResult, began: float, waited: float) -> None:
        """Add a step that began at `began` (of time.perf_counter) by waiting `waited` seconds for its data."""
        self._on_device.append((plan, result))
        self._began = began if self._began is None else self._began
        self._waited_seconds += waited

    @property
    def empty(self) -> bool:
        return not (self._on_device or self._figures)

    def wait(self) -> None:
        """Wait until the device has done all steps so far, at the expense of their phases."""
        pending, self._on_device = self._on_device, []
        for phase, steps in groupby(pending, key=lambda step: step[0].phase):
            with self.ledger.charge(phase):
                self._figures += _on_host(list(steps))

    def read(self) -> dict[str, float]:
        """Metrics by name, means over the collected steps and all processes; begins the next interval.

        All processes must call it together.

        Raises:
            NotFinite: naming the first loss or gradient that is not finite: its step, phase, subnet and process.
        """
        if self._began is None:
            return {}
        self.wait()
        held, waited = time.perf_counter() - self._began, self._waited_seconds
        steps, self._figures = self._figures, []
        self._began, self._waited_seconds = None, 0.0
        last = steps[-1]
        with self.ledger.charge(last.plan.phase):  # the others come to the end of their steps
            self._refuse_non_finite(steps)
            metrics = self._means(steps)
        metrics["optim/lr"] = last.plan.learning_rate
        metrics["optim/epsilon"] = last.plan.epsilon
        metrics["optim/gradient_norm"] = last.gradient_norm
        metrics["speed/images_per_second"] = len(steps) * self.batch_size / held
        metrics["data/wait_fraction"] = waited / held
        return metrics

    def _means(self, steps: list[_Figures]) -> dict[str, float]:
        """Over steps and processes: the loss by slot, and the full model's accuracy where it was trained."""
        losses: dict[str, list[float]] = {}
        for step in steps:
            for slot, loss in zip(step.plan.slots, step.losses, strict=True):
                losses.setdefault(slot.name, []).append(loss)
        correct = [step.correct for step in steps if step.correct is not None]
        own = [sum(values) / len(values) for values in losses.values()]
        *totals, right = self.processes.total([*own, float(sum(correct))])
        metrics = {f"loss/{name}": total / self.processes.world for name, total in zip(losses, totals, strict=True)}
        if correct:
            metrics["acc/train"] = 100 * right / (len(correct) * self.batch_size)
        return metrics

    def _refuse_non_finite(self, steps: list[_Figures]) -> None:
        found: list[tuple[int, int, int, str]] = []  # step, place in it, process, what it is
        for plan, losses, norm, _ in steps:
            where = f"at step {plan.step} ({plan.phase})"
            for place, (slot, loss) in enumerate(zip(plan.slots, losses, strict=True)):
                if not math.isfinite(loss):
                    what = f"loss is {loss} {where}, {slot.name} subnet {slot.subnet}"
                    found.append((plan.step, place, self.processes.rank, what))
            if not math.isfinite(norm):
                found.append((plan.step, len(plan.slots), self.processes.rank, f"gradient norm is {norm} {where}"))
        if not any(self.processes.highest([len(found)])):
            return
        # A loss that is not finite makes the gradients of all processes so: the first place is told.
        _, _, rank, what = min(self.processes.gathered(found))
        raise NotFinite(f"{what}, on process {rank}")


def _on_host(steps: list[tuple[StepPlan, StepResult]]) -> list[_Figures]:
    """Read the results of all these steps together: the one place at which training waits for the device."""
    losses = iter(torch.cat([torch.stack(result.losses) for _, result in steps]).tolist())
    norms = torch.stack([result.gradient_norm for _, result in steps]).tolist()
    full = [result.correct for _, result in steps if result.correct is not None]
    correct = iter(torch.stack(full).tolist() if full else [])
    return [
        _Figures(plan, [next(losses) for _ in plan.slots], norm, None if result.correct is None else next(correct))
        for (plan, result), norm in zip(steps, norms, strict=True)
    ]
