"""What a run holds its accelerators for: its steps, its evaluations, and its start."""

from __future__ import annotations

from collections.abc import Sequence

from data_shards.errors import ShardUsageError
from data_shards.open_data import open_data
from pipeline.forecast.costs import Links, gradient_bytes, run_seconds
from pipeline.forecast.step_times import StepTimes
from pipeline.methods.phases import FULL
from pipeline.methods.schedule import Schedule
from pipeline.recipe.recipe import Recipe
from pipeline.tracking.ledger import unit_for
from pipeline.training.milestones import milestones


class RunHours:
    """Accelerator hours of runs of a recipe, by their schedules.

    An image shown to the smallest subnet is taken to cost as much as one shown to the full model.

    Args:
        schedule: of the recipe.
        times: of steps, on one accelerator.
        links, per_node: as of `costs`.
        count: of accelerators.
    """

    def __init__(
        self, recipe: Recipe, schedule: Schedule, times: StepTimes, links: Links, per_node: int, count: int
    ) -> None:
        self.unit = unit_for(times.device)
        self.price = recipe.cost.price_per_gpu_hour if times.device == "cuda" else None
        self._recipe, self._times, self._count = recipe, times, count
        self._reduce = links.all_reduce(gradient_bytes(schedule.space), -(-count // per_node), min(count, per_node))
        self._held_out = _held_out_images(recipe)

    def __call__(self, schedule: Schedule) -> float:
        return sum(self.split(schedule).values())

    def split(self, schedule: Schedule) -> dict[str, float]:
        """The hours by what they go into."""
        each = self._recipe.batch_size // self._count
        steps = run_seconds(schedule, self._times, each, self._talking)
        seconds = {
            "steps": self._count * steps,
            "evaluation": self._evaluation(schedule),
            "start": self._count * self._times.start_seconds,
        }
        return {name: each / 3600 for name, each in seconds.items()}

    def assumptions(self) -> Sequence[str]:
        """What the hours rest on, a line each."""
        evaluation = "evaluation: not in it, as there was no data where step times were measured"
        if self._held_out is not None and self._times.evaluation is not None:
            evaluation = f"evaluation: of {self._held_out:,} images; any subnet takes as long as the full model"
        return (
            f"step times: {self._times.machine}, measured on one, {self._count} used",
            evaluation,
            f"start: {self._times.start_seconds:.1f} s of each accelerator",
            "not in it: waiting for data, checkpoints (which are written beside training), restarts, "
            "processes slower than others",
        )

    def _talking(self, slots: int) -> float:
        return self._reduce * self._recipe.engine.all_reduces(slots)

    def _evaluation(self, schedule: Schedule) -> float:
        """Seconds of all accelerators."""
        if self._held_out is None or self._times.evaluation is None:
            return 0.0
        of_full, of_smallest = milestones(self._recipe, schedule).evaluations()
        if FULL not in schedule.measured:  # one subnet alone, which takes as long as the smallest
            of_full = 0
        recalibrated = self._recipe.evaluation.recalibration_samples  # by each process for itself
        alone = self._held_out // self._count
        full = alone + recalibrated if len(schedule.space.image_sides) > 1 else alone
        take = self._times.evaluation
        return self._count * (of_full * take(full) + of_smallest * take(alone + recalibrated))


def _held_out_images(recipe: Recipe) -> int | None:
    """How many images accuracy is measured on in training; None where the data is not here."""
    if kept := recipe.data.validation_samples:
        return kept
    try:
        return len(open_data(recipe.data).test)
    except ShardUsageError:
        return None
