"""After which steps a run logs, evaluates and saves."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.duration import to_steps
from pipeline.errors import UsageError
from pipeline.methods.schedule import Schedule
from pipeline.recipe.recipe import Recipe


@dataclass(frozen=True)
class Milestones:
    """Optimizer steps from one time to the next, counted from a run's first step; 0 is never.

    Attributes:
        last: the run's last step, after which it evaluates whatever the interval.
        dips: steps done (from, to) between which the full model is evaluated once more every `full_when_shrinking`,
            as its accuracy may dip.
    """

    log: int
    evaluate: int
    save: int
    last: int
    full_when_shrinking: int
    dips: tuple[tuple[int, int], ...]

    def logs(self, done: int) -> bool:
        """Whether figures are told after `done` steps: where they are due, and before whatever evaluates or saves."""
        return _due(self.log, done) or self.evaluates_full(done) or self.saves(done)

    def evaluates(self, done: int) -> bool:
        """Whether all that the run is measured by is evaluated after `done` steps."""
        return _due(self.evaluate, done) or done == self.last

    def evaluates_full(self, done: int) -> bool:
        """Whether the full model is evaluated after `done` steps, alone or not."""
        since = (done - first for first, last in self.dips if first <= done <= last)
        return any(_due(self.full_when_shrinking, each) for each in since) or self.evaluates(done)

    def evaluations(self) -> tuple[int, int]:
        """How often the full model is evaluated in the run, and how often the smallest subnet."""
        both = {self.last, *(range(self.evaluate, self.last, self.evaluate) if self.evaluate else ())}
        dips = (range(first, min(to, self.last) + 1) for first, to in self.dips)
        more = (done for dip in dips for done in dip[:: self.full_when_shrinking or len(dip) + 1])
        return len(both.union(more if self.full_when_shrinking else ())), len(both)

    def saves(self, done: int) -> bool:
        return _due(self.save, done)


def milestones(recipe: Recipe, schedule: Schedule) -> Milestones:
    """Those of the recipe.

    Raises:
        UsageError: naming the key of an interval that is less than a step.
    """

    def in_steps(key: str, interval: str) -> int:
        try:
            return to_steps(interval, schedule.steps_per_epoch, schedule.steps)
        except UsageError as error:
            raise UsageError(f"{key}: {error}") from None

    return Milestones(
        log=in_steps("log_every", recipe.log_every),
        evaluate=in_steps("evaluation.every", recipe.evaluation.every),
        save=in_steps("checkpoint.every", recipe.checkpoint.every),
        last=schedule.steps,
        full_when_shrinking=in_steps("evaluation.full_when_shrinking", recipe.evaluation.full_when_shrinking),
        dips=schedule.dips(),
    )


def _due(interval: int, done: int) -> bool:
    return interval > 0 and done % interval == 0
