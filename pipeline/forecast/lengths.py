"""The runs of a method by their length: all of its durations multiplied by one factor, so that their proportions stay.

Multiplied are the durations of the recipe's `schedule` that are epochs or steps; percentages stay. How often a run
logs, evaluates and saves stays, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pipeline.duration import in_steps_or_epochs, to_steps
from pipeline.errors import UsageError
from pipeline.methods.schedule import Schedule
from pipeline.methods.work import training_macs
from pipeline.recipe.reading import parse_recipe
from pipeline.recipe.recipe import Recipe, resolved
from pipeline.recipe.schedule_of import schedule_of

_MOST_STEPS = 10**9


def scaled(recipe: Recipe, schedule: Schedule, steps: int) -> Recipe:
    """The recipe with a run of `steps` steps, of which each duration takes the share that it has of the recipe's."""

    def shorter(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: shorter(each) for key, each in value.items()}
        if isinstance(value, list):
            return [shorter(each) for each in value]
        if not in_steps_or_epochs(value):
            return value
        own = to_steps(value, schedule.steps_per_epoch, schedule.steps)
        return f"{max(round(own * steps / schedule.steps), min(own, 1))} steps"

    content = resolved(recipe)
    content["schedule"] = shorter(content["schedule"])
    return parse_recipe(content, "the recipe that the budget pays for")


class Lengths:
    """The runs of a method by their number of steps.

    Args:
        schedule: of the recipe as it is.
    """

    def __init__(self, recipe: Recipe, schedule: Schedule) -> None:
        self.recipe, self.whole = recipe, schedule

    def at(self, steps: int) -> Schedule | None:
        """The schedule of a run of `steps` steps; None where not each phase of the recipe has one of them."""
        try:
            found = schedule_of(scaled(self.recipe, self.whole, steps), self.whole.space, self.whole.steps_per_epoch)
        except UsageError:
            return None
        names = [[phase.name for phase in each.phases] for each in (found, self.whole)]
        return found if names[0] == names[1] else None

    def shortest(self) -> Schedule:
        """With one step in its shortest phase, or as few as rounding allows."""
        for steps in range(len(self.whole.phases), self.whole.steps):
            if found := self.at(steps):
                return found
        return self.whole

    def within(self, budget: float, cost: Callable[[Schedule], float]) -> Schedule | None:
        """The longest run that costs no more than `budget`; None where the shortest one costs more.

        Args:
            cost: of a run; rises with its length.
        """
        best = self.shortest()
        if cost(best) > budget:
            return None
        most = 2 * best.steps
        while most < _MOST_STEPS and not ((found := self.at(most)) and cost(found) > budget):
            most *= 2
        while best.steps + 1 < most:  # the longest is as long as `best`, or longer and shorter than `most`
            middle = (best.steps + most) // 2
            # Where rounding leaves a phase without a step there is no run of that length; a longer one may be.
            longer = next((found for steps in range(middle, most) if (found := self.at(steps))), None)
            if longer and cost(longer) <= budget:
                best = longer
            else:
                most = middle
        return best


class CountedMacs:
    """Training MACs of whole runs, as their ledger will count them: each step is drawn, once however often it is asked.

    Of a slot's candidates the first stands for the one that will be picked, which only training finds out.

    Args:
        batch_size: global.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._by_step: dict[tuple[str, int], int] = {}

    def __call__(self, schedule: Schedule) -> int:
        return self._batch_size * sum(
            self._of_step(schedule, phase.name, step)
            for phase in schedule.phases
            for step in range(phase.start, phase.end)
        )

    def _of_step(self, schedule: Schedule, phase: str, step: int) -> int:
        if (phase, step) not in self._by_step:
            self._by_step[phase, step] = training_macs(schedule.space, schedule.at(step))
        return self._by_step[phase, step]
