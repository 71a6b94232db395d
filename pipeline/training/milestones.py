"""How often a run logs, evaluates and saves, in steps."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.duration import to_steps
from pipeline.errors import UsageError
from pipeline.methods.schedule import Schedule
from pipeline.recipe.recipe import Recipe


class Intervals(NamedTuple):
    """Optimizer steps from one time to the next; 0 is never."""

    log: int
    evaluate: int
    evaluate_full_when_shrinking: int
    save: int


def intervals(recipe: Recipe, schedule: Schedule) -> Intervals:
    """The recipe's intervals.

    Raises:
        UsageError: naming the key of one that is less than a step.
    """

    def in_steps(key: str, interval: str) -> int:
        try:
            return to_steps(interval, schedule.steps_per_epoch, schedule.steps)
        except UsageError as error:
            raise UsageError(f"{key}: {error}") from None

    return Intervals(
        in_steps("log_every", recipe.log_every),
        in_steps("evaluation.every", recipe.evaluation.every),
        in_steps("evaluation.full_when_shrinking", recipe.evaluation.full_when_shrinking),
        in_steps("checkpoint.every", recipe.checkpoint.every),
    )
