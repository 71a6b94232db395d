"""What the runs of a comparison came to: its entrants as a report's approaches, and their differences by seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.comparison.choice import Choice
from pipeline.comparison.entrants import Variant
from pipeline.comparison.seed_run import SeedRun
from pipeline.comparison.statistics import Difference, paired
from pipeline.reports import summary
from pipeline.reports.run_record import ReportError, RunRecord, read_run
from pipeline.reports.summary import Approach

# What entrants are compared by: in words, and of a run that was evaluated.
FIGURES: dict[str, Callable[[RunRecord], float | None]] = {
    "full model": summary.full_top1,
    "smallest subnet": summary.smallest_top1,
    "mean Pareto": summary.mean_pareto,
    "the subnet alone": summary.alone_top1,
    "dip when shrinking begins": summary.dip_points,
}


@dataclass(frozen=True)
class Result:
    """An entrant and its runs, as far as they are trained and evaluated; the first one is what others differ from.

    Attributes:
        seed_runs: all that were to be trained.
        variant: what was trained; None where no value could be chosen for it.
        approach: None where no run is done.
    """

    label: str
    variant: Variant | None
    seed_runs: tuple[SeedRun, ...]
    approach: Approach | None

    @property
    def planned_macs(self) -> int | None:
        """See `Variant`."""
        return self.variant.planned_macs if self.variant else None

    @property
    def missing(self) -> list[str]:
        """The names of the runs that are not done, in words where it is not known yet which they are."""
        if self.variant is None:
            return [f"all of {self.label}, for which nothing could be chosen"]
        done = {run.info.name for run in self.approach.runs} if self.approach else set()
        missing = [each for each in self.seed_runs if each.name not in done]
        return [f"{each.name}, which diverged" if each.has_diverged() else each.name for each in missing]


def result(label: str, variant: Variant | None, seed_runs: Sequence[SeedRun]) -> Result:
    """Read the runs that are done.

    Raises:
        ReportError: what one of them has written is damaged, or their hours are of several units.
    """
    runs = tuple(read_run(each.folder) for each in seed_runs if each.next_task() is None)
    if len(units := {run.ledger.unit for run in runs}) > 1:
        raise ReportError(f"{label}: its runs count {' and '.join(sorted(units))}, which have no mean")
    return Result(label, variant, tuple(seed_runs), Approach(label, runs) if runs else None)


@dataclass(frozen=True)
class Compared:
    """An entrant's figure less the first one's, over the seeds of both."""

    approach: Approach
    figure: str
    difference: Difference


def differences(approaches: Sequence[Approach]) -> list[Compared]:
    """Of every approach against the first, figure by figure."""
    found = []
    for approach in approaches[1:]:
        for name, figure in FIGURES.items():
            ours, theirs = ({run.info.seed: figure(run) for run in each.runs} for each in (approach, approaches[0]))
            if difference := paired(ours, theirs):
                found.append(Compared(approach, name, difference))
    return found


def as_json(results: Sequence[Result], choices: Sequence[Choice]) -> dict[str, Any]:
    """The figures for programs; accuracies in per cent, differences in points."""
    approaches = [each.approach for each in results if each.approach]
    found = differences(approaches) if results[0].approach else []
    return {
        **summary.as_json(approaches),
        "planned_training_macs": {each.label: each.planned_macs for each in results},
        "missing": [name for each in results for name in each.missing],
        "differences": [
            {
                "approach": each.approach.name,
                "against": approaches[0].name,
                "figure": each.figure,
                "n": each.difference.n,
                "mean_points": each.difference.mean,
                "interval_95_points": each.difference.interval,
                "verdict": each.difference.verdict,
            }
            for each in found
        ],
        "choices": [
            {
                "entrant": choice.entrant.label,
                "chosen": chosen.value if (chosen := choice.chosen()) else None,
                "validation_mean_pareto_top1_percent": {
                    str(trial.variant.value): trial.mean() for trial in choice.trials
                },
            }
            for choice in choices
        ],
    }
