"""`--choose`: of an entrant's variants the one with the best mean accuracy on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.comparison.entrants import Entrant, Variant
from pipeline.comparison.seed_run import SeedRun, seed_run_in
from pipeline.comparison.sweep import Sweep, in_a_name
from pipeline.methods.phases import ALONE
from pipeline.reports.run_record import SubnetResult, read_evaluation
from pipeline.run.layout import VALIDATION

FIRST_SEED = 1000  # of choosing; those of comparing are below


@dataclass(frozen=True)
class Trial:
    """A variant, and its runs for choosing."""

    variant: Variant
    seed_runs: tuple[SeedRun, ...]

    def accuracies(self) -> list[tuple[float | None, float | None, float]] | None:
        """Of each run on validation images the full model's top-1, the smallest subnet's, and the mean of the Pareto
        row, both among it, in per cent; None where a run is not evaluated. Of runs that train one subnet alone, its
        own is the mean."""
        found = [read_evaluation(each.folder / VALIDATION) for each in self.seed_runs]
        return [_in_short(subnets) for subnets in found if subnets] if all(found) else None

    def has_diverged(self) -> bool:
        """Whether the loss of a run was not finite: a value that does that is not taken."""
        return any(each.has_diverged() for each in self.seed_runs)

    def mean(self) -> float | None:
        """What is chosen by: the mean of the Pareto row, over the runs; None where one is not evaluated."""
        found = self.accuracies()
        return None if found is None else float(np.mean([mean for _, _, mean in found]))


@dataclass(frozen=True)
class Choice:
    """An entrant and its trials."""

    entrant: Entrant
    trials: tuple[Trial, ...]

    def chosen(self) -> Variant | None:
        """The best variant, of equal ones the first; None until each is evaluated or diverged, or where all did."""
        means = [(trial.mean(), trial) for trial in self.trials if not trial.has_diverged()]
        known = [(mean, trial) for mean, trial in means if mean is not None]
        if not known or len(known) < len(means):
            return None
        return max(known, key=lambda each: each[0])[1].variant


def choices(folder: Path, entrants: Sequence[Entrant], choose: Sweep, seeds: int) -> list[Choice]:
    """What is to be trained for choosing: each variant with each of so many seeds, none of them of the comparison."""
    return [
        Choice(
            entrant,
            tuple(
                Trial(
                    variant,
                    tuple(
                        seed_run_in(folder, variant.recipe, FIRST_SEED + each, in_a_name(value))
                        for each in range(seeds)
                    ),
                )
                for variant, value in zip(entrant.variants, choose.values, strict=True)
            ),
        )
        for entrant in entrants
    ]


def _in_short(subnets: Sequence[SubnetResult]) -> tuple[float | None, float | None, float]:
    row = [subnet for subnet in subnets if subnet.pareto or subnet.name == ALONE]
    full, smallest = (next((each.top1 for each in row if each.name == name), None) for name in ("full", "smallest"))
    return full, smallest, float(np.mean([subnet.top1 for subnet in row]))
