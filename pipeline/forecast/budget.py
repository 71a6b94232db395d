"""`deps plan RECIPE` the other way round: the recipe whose run a budget pays for, the method's proportions kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.console.quantities import with_prefix
from pipeline.console.tables import print_json, print_table
from pipeline.errors import UsageError
from pipeline.forecast.costs import links_of, step_times
from pipeline.forecast.dry_run import schedule_without_data
from pipeline.forecast.hours import RunHours
from pipeline.forecast.lengths import CountedMacs, Lengths, scaled
from pipeline.methods.schedule import Schedule
from pipeline.recipe.recipe import Recipe, resolved
from pipeline.recipe.writing import write_recipe

Kind = Literal["hours", "training MACs", "dollars"]
_COLUMNS = {
    "name": ("phase", ""),
    "start": ("from step", ",d"),
    "end": ("to step", ",d"),
    "of_recipe": ("steps in the recipe", ",d"),
}


@dataclass(frozen=True)
class Budget:
    """What a run may cost in all, of accelerator hours, training MACs or dollars; `option` is how it was given."""

    kind: Kind
    amount: float
    option: str


def budget_of(
    gpu_hours: float | None, training_macs: float | None, dollars: float | None, write: Path | None
) -> Budget | None:
    """The budget that options give; None where they give none.

    Raises:
        UsageError: they give several, or none for a recipe that is to be written; or its folder is not there.
    """
    amounts: dict[Kind, tuple[str, float | None]] = {
        "hours": ("--gpu-hours", gpu_hours),
        "training MACs": ("--training-macs", training_macs),
        "dollars": ("--dollars", dollars),
    }
    given = [
        Budget(kind, amount, f"{option} {amount:g}") for kind, (option, amount) in amounts.items() if amount is not None
    ]
    if len(given) > 1:
        raise UsageError(f"{given[0].option} and {given[1].option}: give one budget")
    if write and not given:
        raise UsageError(f"--write {write}: needs a budget: --gpu-hours, --training-macs or --dollars")
    if write and not write.absolute().parent.is_dir():  # known before a plan that may take minutes
        raise UsageError(f"--write {write}: cannot be written: its folder is not there")
    return given[0] if given else None


def plan_budget(recipe: Recipe, schedule: Schedule, budget: Budget, hours: RunHours | None) -> Schedule:
    """The schedule of the longest run that the budget pays for.

    Args:
        hours: of runs; needed for hours and dollars.

    Raises:
        UsageError: where it does not pay for the shortest one, or dollars have no price.
    """
    lengths = Lengths(recipe, schedule)
    cost = _cost(recipe, budget, hours)
    found = lengths.within(budget.amount, cost)
    if found is None:
        shortest = lengths.shortest()
        raise UsageError(
            f"{budget.option}: the shortest run of all phases, {shortest.steps} steps, costs "
            f"{_told(budget.kind, cost(shortest))}, more than {_told(budget.kind, budget.amount)}"
        )
    return found


def _cost(recipe: Recipe, budget: Budget, hours: RunHours | None) -> Callable[[Schedule], float]:
    if budget.kind == "training MACs":
        return CountedMacs(recipe.batch_size)
    assert hours is not None, budget
    if budget.kind == "hours":
        return hours
    price = hours.price
    if price is None:
        raise UsageError(f"{budget.option}: needs accelerators with a price: --gpu, and cost.price_per_gpu_hour=…")
    return lambda schedule: hours(schedule) * price


def _told(kind: str, amount: float) -> str:
    return {"hours": f"{amount:,.3g} h", "dollars": f"{amount:,.2f} $"}.get(kind) or with_prefix(amount, "MACs")


def print_budget(
    recipe: Recipe,
    budget: Budget,
    gpu: str,
    per_node: int,
    counts: Sequence[int],
    within: float | None,
    between: float | None,
    measured: Path | None,
    save: Path | None,
    write: Path | None,
    as_json: bool,
) -> None:
    """Print the run that the budget pays for, with all that is assumed; write its recipe where that is asked for.

    Args:
        gpu, per_node, within, between, measured, save: as of `print_costs`; not asked for by a budget of MACs.
        counts: of accelerators; one at most.

    Raises:
        UsageError: as `plan_budget`; for several numbers of accelerators, or one that the batch cannot be shared by;
            where a file cannot be written.
    """
    count, *others = counts or [1]
    if others:
        raise UsageError(f"{budget.option}: is planned for one number of accelerators, not for {count} and {others[0]}")
    if recipe.batch_size % count:
        raise UsageError(f"--gpus, --nodes: {count} does not divide batch_size {recipe.batch_size}")
    whole = schedule_without_data(recipe)
    hours = None
    if budget.kind != "training MACs":
        links, times = links_of(gpu, within, between), step_times(recipe, whole, gpu, measured)
        if save:
            times.save(save)
        hours = RunHours(recipe, whole, times, links, per_node, count)
    found = plan_budget(recipe, whole, budget, hours)
    new = scaled(recipe, whole, found.steps)
    macs = CountedMacs(recipe.batch_size)(found)
    phases = [
        {"name": phase.name, "start": phase.start, "end": phase.end, "of_recipe": was.end - was.start}
        for phase, was in zip(found.phases, whole.phases, strict=True)
    ]
    spent = hours.split(found) if hours else None
    assumed = [_of_macs(found), *(hours.assumptions() if hours else ())]
    if write:
        head = f"{recipe.name} for {budget.option}: {found.steps} of {whole.steps} steps, {with_prefix(macs, 'MACs')}."
        _write_recipe(write, new, head)
    if as_json:
        unit, price = (hours.unit, hours.price) if hours else (None, None)
        costs = {
            "training_macs": macs,
            "unit": unit,
            "hours": sum(spent.values()) if spent else None,
            "hours_by_category": spent,
            "dollars": sum(spent.values()) * price if spent and price is not None else None,
        }
        given = {"kind": budget.kind, "amount": budget.amount}
        schedule = resolved(new)["schedule"]
        content = {"name": recipe.name, "budget": given, "steps": found.steps, "schedule": schedule, "phases": phases}
        print_json({**content, **costs, "assumptions": assumed})
        return
    print_table(f"{recipe.name}: {found.steps:,} of {whole.steps:,} steps for {budget.option}", phases, _COLUMNS)
    if hours and spent:
        parts = ", ".join(f"{name} {each:,.3g}" for name, each in spent.items())
        dollars = "" if hours.price is None else f", {sum(spent.values()) * hours.price:,.2f} $"
        print(f"{sum(spent.values()):,.3g} {hours.unit}{dollars}: {parts}")
    print(f"training: {with_prefix(macs, 'MACs')} ({macs:,})")
    print("\n".join(assumed))
    if write:
        print(f"written: {write}; next: deps train {write} name=…")


def _of_macs(schedule: Schedule) -> str:
    if any(slot.pick for phase in schedule.phases for slot in phase.slots):
        return "training MACs: of a slot's candidates the first is taken to be picked, which only training finds out"
    return "training MACs are exact: those that the ledger will count, of a run without restarts"


def _write_recipe(path: Path, recipe: Recipe, head: str) -> None:
    try:
        write_recipe(path, recipe, head)
    except OSError as error:
        raise UsageError(f"--write {path}: cannot be written: {error.strerror}") from None
