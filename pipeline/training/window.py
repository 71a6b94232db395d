"""Figures of the steps since the last log line, read from the device once per line and not once per step."""

from __future__ import annotations

import math
import time

import torch

from pipeline.engines.processes import Processes
from pipeline.errors import RunFailure
from pipeline.training.sandwich import StepResult
from pipeline.training.schedule import StepPlan


class NotFinite(RunFailure):
    """A loss or gradient that is not finite; raised on all processes, with the same message."""


class Window:
    """Collects step results until `read`.

    Args:
        batch_size: global; to tell images per second and accuracy.
    """

    def __init__(self, processes: Processes, batch_size: int) -> None:
        self.processes = processes
        self.batch_size = batch_size
        self._entries: list[tuple[StepPlan, StepResult]] = []
        self._training_seconds = 0.0
        self._waited_seconds = 0.0

    def add(self, plan: StepPlan, result: StepResult, began: float, waited: float) -> None:
        """Add a step that began at `began` (of time.perf_counter) after waiting `waited` seconds for its data."""
        self._entries.append((plan, result))
        self._training_seconds += time.perf_counter() - began
        self._waited_seconds += waited

    @property
    def empty(self) -> bool:
        return not self._entries

    def read(self) -> dict[str, float]:
        """Metrics by name, means over the collected steps and all processes; empties the window.

        All processes must call it together.

        Raises:
            NotFinite: naming the first loss or gradient that is not finite: its step, phase, subnet and process.
        """
        if not self._entries:
            return {}
        entries, self._entries = self._entries, []
        losses = torch.cat([torch.stack(result.losses) for _, result in entries]).tolist()
        correct = torch.stack([result.correct for _, result in entries]).sum().item()
        norms = torch.stack([result.gradient_norm for _, result in entries]).tolist()
        self._refuse_non_finite(entries, losses, norms)
        last_plan, _ = entries[-1]
        metrics = {
            "optim/lr": last_plan.learning_rate,
            "optim/epsilon": last_plan.epsilon,
            "optim/gradient_norm": norms[-1],
        }
        sums: dict[str, list[float]] = {}
        for slot, loss in zip([slot for plan, _ in entries for slot in plan.slots], losses, strict=True):
            sums.setdefault(slot.role, []).append(loss)
        totals = self.processes.total([sum(values) / len(values) for values in sums.values()] + [correct])
        for role, total in zip(sums, totals[:-1], strict=True):
            metrics[f"loss/{role}"] = total / self.processes.world
        metrics["acc/train"] = 100 * totals[-1] / (len(entries) * self.batch_size)
        held = self._training_seconds + self._waited_seconds
        metrics["speed/images_per_second"] = len(entries) * self.batch_size / held
        metrics["data/wait_fraction"] = self._waited_seconds / held
        self._training_seconds = self._waited_seconds = 0.0
        return metrics

    def _refuse_non_finite(
        self, entries: list[tuple[StepPlan, StepResult]], losses: list[float], norms: list[float]
    ) -> None:
        values = iter(losses)
        found: list[tuple[int, int, int, str]] = []  # step, place in it, process, what it is
        for (plan, _), norm in zip(entries, norms, strict=True):
            where = f"at step {plan.step} ({plan.phase})"
            for place, slot in enumerate(plan.slots):
                if not math.isfinite(loss := next(values)):
                    what = f"loss is {loss} {where}, {slot.role} subnet {slot.subnet}"
                    found.append((plan.step, place, self.processes.rank, what))
            if not math.isfinite(norm):
                found.append((plan.step, len(plan.slots), self.processes.rank, f"gradient norm is {norm} {where}"))
        if not self.processes.highest(len(found)):
            return
        # One process's loss makes the gradients of all not finite: told is where it began.
        _, _, rank, what = min(self.processes.gathered(found))
        self._training_seconds = self._waited_seconds = 0.0
        raise NotFinite(f"{what}, on process {rank}")
