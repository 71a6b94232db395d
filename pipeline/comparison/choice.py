"""`--choose`: of a contender's candidates the one with the best mean accuracy on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.comparison.contenders import Candidate, Contender
from pipeline.comparison.member import Member, member
from pipeline.comparison.sweep import Sweep, in_a_name
from pipeline.reports.run_record import SubnetResult, read_evaluation
from pipeline.run.layout import VALIDATION

FIRST_SEED = 1000  # of choosing; those of comparing are below


@dataclass(frozen=True)
class Trial:
    """A candidate, and its runs for choosing."""

    candidate: Candidate
    members: tuple[Member, ...]

    def accuracies(self) -> list[tuple[float, float, float]] | None:
        """Of each run on validation images the full model's top-1, the smallest subnet's, and the mean of the Pareto
        row, both among it, in per cent; None where a run is not evaluated."""
        found = [read_evaluation(each.folder / VALIDATION) for each in self.members]
        return [_in_short(subnets) for subnets in found if subnets] if all(found) else None

    def mean(self) -> float | None:
        """What is chosen by: the mean of the Pareto row, over the runs; None where one is not evaluated."""
        found = self.accuracies()
        return None if found is None else float(np.mean([mean for _, _, mean in found]))


@dataclass(frozen=True)
class Choice:
    """A contender and its trials."""

    contender: Contender
    trials: tuple[Trial, ...]

    def chosen(self) -> Candidate | None:
        """The best candidate, of equal ones the first; None until all of them are evaluated."""
        means = [trial.mean() for trial in self.trials]
        known = [mean for mean in means if mean is not None]
        return self.trials[means.index(max(known))].candidate if len(known) == len(means) else None


def choices(folder: Path, contenders: Sequence[Contender], choose: Sweep, seeds: int) -> list[Choice]:
    """What is to be trained for choosing: each candidate with each of so many seeds, none of them of the comparison."""
    return [
        Choice(
            contender,
            tuple(
                Trial(
                    candidate,
                    tuple(
                        member(folder, candidate.recipe, FIRST_SEED + each, in_a_name(value)) for each in range(seeds)
                    ),
                )
                for candidate, value in zip(contender.candidates, choose.values, strict=True)
            ),
        )
        for contender in contenders
    ]


def _in_short(subnets: Sequence[SubnetResult]) -> tuple[float, float, float]:
    row = [subnet for subnet in subnets if subnet.pareto]
    full, smallest = (next(each.top1 for each in row if each.name == name) for name in ("full", "smallest"))
    return full, smallest, float(np.mean([subnet.top1 for subnet in row]))
