"""The schedule that a recipe describes."""

from __future__ import annotations

from pipeline.methods.entries import LoadWeights
from pipeline.methods.schedule import Schedule
from pipeline.recipe.recipe import Recipe
from pipeline.supernet.space import Space


def schedule_of(recipe: Recipe, space: Space, steps_per_epoch: int) -> Schedule:
    """The recipe's method over its steps, from the weights on that it starts with.

    Raises:
        ScheduleError: where the method's phases do not fit into the run.
    """
    start = starting_weights(recipe)
    return Schedule(
        recipe.schedule, space, steps_per_epoch, recipe.seed, recipe.loss, start=() if start is None else (start,)
    )


def starting_weights(recipe: Recipe) -> LoadWeights | None:
    """What loads the weights that a run begins with; None where those are drawn."""
    model = recipe.model
    return None if model.start is None else LoadWeights(model.start, model.start_classifier == "new")
