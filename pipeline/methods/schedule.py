"""A method over a run's steps: `schedule.at(step)` answers everything that the trainer asks about a step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from data_shards.randomness import Purpose
from pipeline.methods.draws import Key, step_bits
from pipeline.methods.entries import Entry
from pipeline.methods.losses import LossConfig
from pipeline.methods.method import BaseMethodConfig
from pipeline.methods.phases import (
    ALONE,
    FULL,
    Clock,
    Phase,
    ScheduleError,
    Slot,
    SlotRule,
    StepPlan,
    duration_in_steps,
)
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet


class Schedule:
    """Phases, rates and subnets of a run.

    Args:
        steps_per_epoch: optimizer steps of one pass over the training data.
        seed: of the run; subnets depend on (seed, step, slot) alone.
        start: what happens to the training state before the first step, ahead of what the first phase does.

    Raises:
        ScheduleError: where the method's phases do not fit into the run.
    """

    def __init__(
        self,
        method: BaseMethodConfig,
        space: Space,
        steps_per_epoch: int,
        seed: int,
        loss: LossConfig | None = None,
        start: tuple[Entry, ...] = (),
    ) -> None:
        self.space = space
        self.seed = seed
        self.steps_per_epoch = steps_per_epoch
        self.steps = duration_in_steps("duration", method.duration, steps_per_epoch, None)
        if self.steps < 1:
            raise ScheduleError(f"schedule.duration: '{method.duration}' is not even one step")
        loss = loss or LossConfig()
        phases = method.phases(space, Clock(steps_per_epoch, self.steps, bool(start)), loss)
        _check_losses(phases, loss)
        first, *others = (phase for phase in phases if phase.start < phase.end)
        self.phases = (replace(first, enter=(*start, *first.enter)), *others)
        self._alone = method.alone(space)

    def at(self, step: int) -> StepPlan:
        """The plan of optimizer step 0 … steps − 1."""
        phase, resolution = self.phase(step), self.resolution(step)
        slots = tuple(self._slot(rule, step, place, resolution) for place, rule in enumerate(phase.slots))
        return StepPlan(step, phase.name, phase.rate(step), resolution, slots)

    def _slot(self, rule: SlotRule, step: int, place: int, resolution: int) -> Slot:
        count = rule.pick.candidates if rule.pick else 1
        drawn = (rule.draw(Key(self.seed, step, place, candidate)) for candidate in range(count))
        first, *others = (self.space.on_images(subnet, resolution) for subnet in drawn)
        candidates = (first, *others) if rule.pick else ()
        is_trained = rule.trained is not None and rule.trained.holds(first)
        return Slot(rule.name, first, rule.loss, 1.0 if is_trained else rule.scale(step), candidates, rule.pick)

    def phase(self, step: int) -> Phase:
        for phase in self.phases:
            if phase.start <= step < phase.end:
                return phase
        raise IndexError(f"step {step} is outside the run's {self.steps} steps")

    def resolution(self, step: int) -> int:
        """Side of the images at `step`: drawn uniformly for the whole batch, of (seed, step) alone (OFA's rule)."""
        sides = self.space.image_sides
        return sides[step_bits(self.seed, step, Purpose.RESOLUTION) % len(sides)]

    def entries(self, step: int) -> tuple[Phase, ...]:
        """The phases that do something to the training state on being entered, up to the one of `step`."""
        return tuple(phase for phase in self.phases if phase.enter and phase.start <= step)

    @property
    def measured(self) -> dict[str, Subnet]:
        """The subnets whose held-out accuracy tells how far the run is, by the names that figures have."""
        if self._alone is not None:
            return {ALONE: self._alone}
        return {FULL: self.space.largest(), "smallest": self.space.smallest()}

    def dips(self) -> tuple[tuple[int, int], ...]:
        """Steps done (from, to) between which the full model may lose accuracy."""
        return tuple((phase.start, phase.start + phase.dip_steps) for phase in self.phases if phase.dip_steps)


def _check_losses(phases: Iterable[Phase], loss: LossConfig) -> None:
    """Raises ScheduleError where the recipe says how soft labels are learned from, and nothing learns from them."""
    if loss.soft is not None and all(slot.loss == loss.of_labels() for phase in phases for slot in phase.slots):
        raise ScheduleError(
            f"loss.soft: {loss.soft.name} is for subnets that learn from soft labels, of which none does"
        )
