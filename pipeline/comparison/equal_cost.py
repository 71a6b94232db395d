"""All entrants at equal training MACs: each one's durations scaled by one factor, as `deps plan` scales them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from pipeline.comparison.entrants import Entrant, Variant
from pipeline.console.quantities import with_prefix
from pipeline.errors import UsageError
from pipeline.experiment import prepare
from pipeline.forecast.budget import Budget, plan_budget
from pipeline.forecast.lengths import CountedMacs, scaled
from pipeline.methods.schedule import Schedule
from pipeline.recipe.recipe import Recipe, resolved

NEAR = 0.01  # by how much planned MACs may differ from each other, as a share of the most


def at_equal_cost(entrants: Sequence[Entrant], training_macs: float | None) -> tuple[Entrant, ...]:
    """The entrants with recipes of the longest runs that the budget pays for, planned for seed 0.

    Args:
        training_macs: the budget; that of the first entrant's recipe, as it is, where none is given.

    Raises:
        UsageError: the budget does not pay for an entrant's shortest run, or is too small for steps of so many MACs
            to come within 1 % of each other.
    """
    amount = training_macs if training_macs is not None else _macs(entrants[0])
    option = "--equal-cost" if training_macs is None else f"--training-macs {training_macs:g}"
    budget = Budget("training MACs", amount, option)
    found = tuple(replace(entrant, variants=_scaled(entrant, budget)) for entrant in entrants)
    _check_equal(found)
    return found


def _macs(entrant: Entrant) -> int:
    recipe = entrant.base
    return CountedMacs(recipe.batch_size)(prepare(recipe).schedule)


def _scaled(entrant: Entrant, budget: Budget) -> tuple[Variant, ...]:
    """The entrant's variants; counted once where they differ in rates only, which no MACs depend on."""
    planned: dict[str, tuple[int, int]] = {}
    found: list[Variant] = []
    for variant in entrant.variants:
        recipe = variant.recipe
        whole = prepare(recipe).schedule
        work = _work(recipe)
        if work not in planned:
            planned[work] = _plan(entrant, recipe, whole, budget)
        steps, macs = planned[work]
        found.append(replace(variant, recipe=scaled(recipe, whole, steps), planned_macs=macs))
    return tuple(found)


def _work(recipe: Recipe) -> str:
    """The recipe as text, without what changes rates alone."""
    content = resolved(recipe)
    del content["schedule"]["learning_rate"], content["optimizer"]
    return json.dumps(content, sort_keys=True)


def _plan(entrant: Entrant, recipe: Recipe, whole: Schedule, budget: Budget) -> tuple[int, int]:
    """Steps and training MACs of the longest run that the budget pays for."""
    try:
        schedule = plan_budget(recipe, whole, budget, None)
    except UsageError as error:
        raise UsageError(f"recipe {entrant.name}: {error}") from None
    return schedule.steps, CountedMacs(recipe.batch_size)(schedule)


def _check_equal(entrants: Sequence[Entrant]) -> None:
    planned = [(each.planned_macs or 0, entrant.name) for entrant in entrants for each in entrant.variants]
    (least, cheapest), (most, dearest) = min(planned), max(planned)
    if most - least > NEAR * most:
        raise UsageError(
            f"--equal-cost: {cheapest} comes to {with_prefix(least, 'MACs')}, {dearest} to "
            f"{with_prefix(most, 'MACs')}, which differ by more than {NEAR:.0%}: runs of so few steps are not finer; "
            "give more --training-macs"
        )
