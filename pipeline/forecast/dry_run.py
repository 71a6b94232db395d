"""`deps train RECIPE --dry-run`: everything but the data, and what the run would cost."""

from __future__ import annotations

from collections import Counter
from typing import Any

from data_shards.errors import ShardUsageError
from pipeline.console.quantities import with_prefix
from pipeline.console.tables import print_json, print_table
from pipeline.errors import UsageError
from pipeline.experiment import prepare
from pipeline.forecast.trial_steps import in_pairs, seconds_per_step
from pipeline.methods.phases import Phase
from pipeline.methods.schedule import Schedule
from pipeline.methods.work import macs_per_image
from pipeline.processes.group import launched_processes
from pipeline.recipe.recipe import Recipe
from pipeline.recipe.schedule_of import schedule_of
from pipeline.run.folder import machine
from pipeline.supernet.complexity import complexity
from pipeline.supernet.networks import build_space
from pipeline.supernet.space import Space
from pipeline.tracking.ledger import unit_for
from pipeline.training.build import build

# Forward MACs of a trial step of the full model: enough to be worth measuring, little enough to wait for.
_TRIAL_MACS = 1e9
_LEAST_TRIAL_IMAGES = 4

_COLUMNS = {
    "name": ("phase", ""),
    "start": ("from step", ",d"),
    "end": ("to step", ",d"),
    "epochs": ("epochs", ".1f"),
    "subnets": ("subnets per step", ""),
    "macs_per_image": ("an image, fwd + bwd", ""),
    "training_macs": ("in all", ""),
    "hours": ("hours here", ",.2f"),
}


def dry_run(recipe: Recipe) -> dict[str, Any]:
    """Build supernet, schedule and engine, take trial steps on made-up batches, and extrapolate.

    The estimate is for this machine and this many processes: seconds per image of a step of a few images, measured
    for each phase, times the run's images. Reading data, evaluation and checkpoints are not in it.

    Raises:
        UsageError: as training would, and where the number of training samples is unknown.
    """
    schedule = schedule_without_data(recipe)
    with launched_processes() as processes:
        count = _trial_images(schedule.space, recipe.batch_size // processes.world)
        engine = build(recipe.model_copy(update={"batch_size": count * processes.world}), schedule, processes)
        seconds = seconds_per_step(recipe, engine, schedule, processes, count)
        phases = [
            _phase_row(phase, schedule, recipe.batch_size, seconds[phase.name] / count) for phase in schedule.phases
        ]
        hours = sum(phase["hours"] for phase in phases)
        price = recipe.cost.price_per_gpu_hour if processes.device.type == "cuda" else None
        parameters = sum(parameter.numel() for parameter in engine.supernet.parameters())
        return {
            "name": recipe.name,
            "approach": recipe.approach,
            "steps": schedule.steps,
            "steps_per_epoch": schedule.steps_per_epoch,
            "batch_size": recipe.batch_size,
            "supernet_parameters": parameters,
            "subnets": _subnets(schedule.space),
            "phases": phases,
            "estimate": {
                "hours": hours,
                "unit": unit_for(processes.device.type),
                "dollars": None if price is None else hours * price,
                "measured_images_per_step": count,
                "machine": machine(processes.device),
            },
        }


def print_dry_run(recipe: Recipe, as_json: bool) -> None:
    """Print what `dry_run` finds."""
    found = dry_run(recipe)
    if as_json:
        print_json(found)
        return
    print(
        f"{found['name']} ({found['approach']}): {found['steps']:,} steps of {found['batch_size']:,} images, "
        f"{found['steps_per_epoch']:,} an epoch; supernet of {found['supernet_parameters']:,} parameters"
    )
    macs = ("macs_per_image", "training_macs")
    phases = [{**phase, **{key: with_prefix(phase[key], "MACs") for key in macs}} for phase in found["phases"]]
    print_table("Phases", phases, _COLUMNS)
    columns = {"subnet": ("subnet", ""), "macs": ("MACs", ",d"), "params": ("parameters", ",d")}
    print_table("Subnets of the Pareto row", found["subnets"], columns)
    estimate = found["estimate"]
    dollars = "" if estimate["dollars"] is None else f", {estimate['dollars']:,.0f} $"
    print(
        f"estimate: {estimate['hours']:,.2f} {estimate['unit']}{dollars} on {estimate['machine']}\n"
        f"(extrapolated from steps of {estimate['measured_images_per_step']} images measured just now; "
        "without reading, evaluation, saving)"
    )


def schedule_without_data(recipe: Recipe) -> Schedule:
    """The schedule, from the recipe's own `train_samples` and `space.classes` where its data set is not there.

    Raises:
        UsageError: as training would, and where the recipe does not give them.
    """
    try:
        return prepare(recipe).schedule
    except ShardUsageError as error:
        if recipe.data.shards.exists():
            raise
        if recipe.train_samples is None:
            raise UsageError(f"{error}; or give train_samples and space.classes for a dry run without data") from None
    if not recipe.space.classes:
        raise UsageError("space.classes: is needed for a dry run without data")
    steps_per_epoch = recipe.steps_per_epoch(recipe.train_samples)
    return schedule_of(recipe, build_space(recipe.space), steps_per_epoch)


def _trial_images(space: Space, per_process: int) -> int:
    affordable = max(_LEAST_TRIAL_IMAGES, int(_TRIAL_MACS / complexity(space, space.largest()).macs))
    return in_pairs(min(affordable, per_process))


def _phase_row(phase: Phase, schedule: Schedule, batch_size: int, seconds_per_image: float) -> dict[str, Any]:
    steps = phase.end - phase.start
    per_image = macs_per_image(phase, schedule)
    names = Counter(phase.slot_names)
    return {
        "name": phase.name,
        "start": phase.start,
        "end": phase.end,
        "epochs": steps / schedule.steps_per_epoch,
        "subnets": " + ".join(name if count == 1 else f"{count} {name}" for name, count in names.items()),
        "macs_per_image": per_image,
        "training_macs": per_image * steps * batch_size,
        "hours": seconds_per_image * steps * batch_size / 3600,
    }


def _subnets(space: Space) -> list[dict[str, Any]]:
    row = [(name, subnet, complexity(space, subnet)) for name, subnet in space.pareto_row()]
    return [
        {"name": name, "subnet": str(subnet), "macs": size.macs, "params": size.parameters}
        for name, subnet, size in row
    ]
