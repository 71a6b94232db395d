"""The figures of a report: per run, and as mean ± standard deviation over the seeds of one approach."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.methods.phases import ALONE
from pipeline.recipe.keys import is_trained
from pipeline.reports.run_record import ReportError, RunRecord, SubnetResult
from pipeline.run.layout import RUN

OF_ONE_RUN = ("name", "approach", "seed")  # keys of a recipe that tell its runs apart
NEAR = 0.05  # a subnet counts as being "at" a number of MACs when it is within this fraction of it


@dataclass(frozen=True)
class Approach:
    """The runs of one approach, which differ by their seed. Their hours are of one unit."""

    name: str
    runs: tuple[RunRecord, ...]

    @property
    def unit(self) -> str:
        """The unit of cost of all its runs."""
        return self.runs[0].ledger.unit


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation of n values; None where there is nothing to state."""

    mean: float
    deviation: float | None
    n: int

    def text(self, digits: int, runs: int) -> str:
        """Such as "93.41 ± 0.12", with n where it is not that of the runs."""
        text = f"{self.mean:.{digits}f}"
        if self.deviation is not None:
            text += f" ± {self.deviation:.{digits}f}"
        return text if self.n == runs else f"{text} (n = {self.n})"


def spread(values: Sequence[float | None]) -> Spread | None:
    """Mean and spread of the values that are there; None when there is none."""
    found = [value for value in values if value is not None]
    if not found:
        return None
    deviation = float(np.std(found, ddof=1)) if len(found) > 1 else None
    return Spread(float(np.mean(found)), deviation, len(found))


def spread_text(approach: Approach, figure: Callable[[RunRecord], float | None], digits: int) -> str:
    """A figure over the runs of an approach as text; "–" where no run has it."""
    found = spread([figure(run) for run in approach.runs])
    return "–" if found is None else found.text(digits, len(approach.runs))


def group(runs: Sequence[RunRecord]) -> list[Approach]:
    """The runs by approach, in the order in which approaches first appear; seeds ascending.

    Runs that go by one name, yet differ in their recipe or in their unit of cost, have no mean: they become approaches
    of their own, named by what differs.

    Raises:
        ReportError: two runs are of one approach, recipe and seed, which would count one seed twice.
    """
    members: dict[tuple[str, tuple[tuple[str, str], ...]], list[RunRecord]] = {}
    for run in runs:
        members.setdefault((run.info.approach, tuple(sorted(_distinction(run).items()))), []).append(run)
    approaches = []
    for (name, distinction), found in members.items():
        others = [dict(other) for other_name, other in members if other_name == name and other != distinction]
        own_name = _told_apart(name, dict(distinction), others)
        approaches.append(Approach(own_name, tuple(sorted(found, key=lambda run: run.info.seed))))
    for approach in approaches:
        for one, other in pairwise(approach.runs):
            if one.info.seed == other.info.seed:
                raise ReportError(
                    f"{other.folder / RUN}: seed {one.info.seed} of {approach.name} again, as in {one.folder}: "
                    "one seed trained twice is not two seeds"
                )
    return approaches


def _told_apart(name: str, own: dict[str, str], others: Sequence[dict[str, str]]) -> str:
    """The name with what differs from the others of that name: up to three keys, more where those are not enough.

    Network and method come first; keys that not all have, as each network and method has its own, come last.
    """
    differing = [key for key in own if any(other.get(key) != own[key] for other in others)]
    foremost = ("space.network", "schedule.name")
    differing.sort(key=lambda key: (key not in foremost, not all(key in other for other in others)))
    count = next(
        (
            count
            for count in range(3, len(differing))
            if not any(all(other.get(key) == own[key] for key in differing[:count]) for other in others)
        ),
        len(differing),
    )
    told = ", ".join(f"{key.split('.')[-1]} {own[key]}" for key in differing[:count])
    return f"{name} ({told})" if told else name


def _distinction(run: RunRecord) -> dict[str, str]:
    """What runs must share to be seeds of one approach."""
    recipe = {key: value for key, value in run.recipe.items() if key not in OF_ONE_RUN and is_trained(key)}
    return {**recipe, "cost in": run.ledger.unit}


def smallest(run: RunRecord) -> SubnetResult | None:
    """The smallest subnet of the space as it was evaluated."""
    return _named(run, "smallest")


def full(run: RunRecord) -> SubnetResult | None:
    """The full model as it was evaluated."""
    return _named(run, "full")


def _named(run: RunRecord, name: str) -> SubnetResult | None:
    return next((subnet for subnet in run.subnets or () if subnet.pareto and subnet.name == name), None)


def smallest_top1(run: RunRecord) -> float | None:
    """Top-1 of the smallest subnet; of a run not evaluated, what was last measured in training."""
    found = smallest(run)
    return found.top1 if found else last_accuracy(run, "acc/smallest")


def full_top1(run: RunRecord) -> float | None:
    """Top-1 of the full model; of a run not evaluated, what was last measured in training."""
    found = full(run)
    return found.top1 if found else last_accuracy(run, "acc/full")


def alone_top1(run: RunRecord) -> float | None:
    """Top-1 of the only subnet that the run trains; of a run not evaluated, what was last measured in training."""
    found = next((subnet for subnet in run.subnets or () if subnet.name == ALONE), None)
    return found.top1 if found else last_accuracy(run, f"acc/{ALONE}")


def comparable(approach: Approach) -> tuple[RunRecord, ...]:
    """The runs that a mean accuracy is over: the evaluated ones; all, where there is none. Never over both."""
    return tuple(run for run in approach.runs if run.subnets) or approach.runs


def middle_macs(runs: Sequence[RunRecord]) -> int | None:
    """The MACs of the Pareto row's middle subnet, of the first run that was evaluated."""
    for run in runs:
        if len(run.pareto) > 2:
            return run.pareto[len(run.pareto) // 2].macs
    return None


def top1_at(run: RunRecord, macs: int | None) -> float | None:
    """Top-1 of the Pareto row's subnet nearest to `macs`; None when none is within 5 % of it."""
    if macs is None or not run.pareto:
        return None
    nearest = min(run.pareto, key=lambda subnet: abs(subnet.macs - macs))
    return nearest.top1 if abs(nearest.macs - macs) <= NEAR * macs else None


def mean_pareto(run: RunRecord) -> float | None:
    """Mean top-1 over the Pareto row."""
    return float(np.mean([subnet.top1 for subnet in run.pareto])) if run.pareto else None


def minutes_per_epoch(run: RunRecord) -> float | None:
    """Accelerator minutes (or process minutes) of the ledger per epoch trained: what was held, not only the steps."""
    return run.ledger.hours * 60 / run.epochs_done if run.epochs_done else None


def measured_on(approaches: Sequence[Approach]) -> str:
    """In a word, the images of accuracies in training: held-out ones of the test split, or of the training split."""
    return " or ".join(sorted({run.info.held_out for approach in approaches for run in approach.runs}))


def last_accuracy(run: RunRecord, name: str) -> float | None:
    """The held-out accuracy last measured in training: `acc/full` or `acc/smallest`, in per cent."""
    series = run.metrics.get(name)
    return None if series is None else float(series.values[-1])


@dataclass(frozen=True)
class Dip:
    """What the full model loses when shrinking begins, in held-out top-1 per cent.

    `before` is measured last at or before the start; `lowest` is the minimum within the first quarter of the steps that
    remain from there.
    """

    before: float
    lowest: float
    lowest_step: int

    @property
    def points(self) -> float:
        """The dip in percentage points; negative when accuracy only rose."""
        return self.before - self.lowest


def dip_window(run: RunRecord) -> tuple[int, int] | None:
    """The steps (start, end] in which the dip is looked for; None for a run without a full-model phase."""
    start = run.shrink_start
    return None if start is None else (start, start + (run.info.steps - start) // 4)


def dip(run: RunRecord) -> Dip | None:
    """The dip of a run; None when nothing was measured before the start, or in the window after it."""
    window, series = dip_window(run), run.metrics.get("acc/full")
    if window is None or series is None:
        return None
    start, end = window
    before = series.values[series.steps <= start]
    inside = (series.steps > start) & (series.steps <= end) & np.isfinite(series.values)
    if not before.size or not inside.any():
        return None
    lowest = int(np.argmin(series.values[inside]))
    return Dip(float(before[-1]), float(series.values[inside][lowest]), int(series.steps[inside][lowest]))


def dip_points(run: RunRecord) -> float | None:
    """The dip in percentage points; see `dip`."""
    found = dip(run)
    return None if found is None else found.points


# What a run comes down to, by the names that a program reads it by.
_ACCURACIES: dict[str, Callable[[RunRecord], float | None]] = {
    "full_top1_percent": full_top1,
    "smallest_top1_percent": smallest_top1,
    "mean_pareto_top1_percent": mean_pareto,
}
_OTHERS: dict[str, Callable[[RunRecord], float | None]] = {
    "hours": lambda run: run.ledger.hours,
    "dollars": lambda run: run.ledger.dollars,
    "training_macs": lambda run: run.ledger.training_macs,
    "epochs": lambda run: run.epochs_done,
    "minutes_per_epoch": minutes_per_epoch,
    "shrink_dip_points": dip_points,
}


def as_json(approaches: Sequence[Approach]) -> dict[str, list[dict[str, Any]]]:
    """The figures of the runs and of the approaches, for programs; null where there is none."""
    return {
        "runs": [_run_json(approach, run) for approach in approaches for run in approach.runs],
        "approaches": [_approach_json(approach) for approach in approaches],
    }


def _run_json(approach: Approach, run: RunRecord) -> dict[str, Any]:
    who = {"name": run.info.name, "approach": approach.name, "seed": run.info.seed}
    figures = {name: _number(figure(run)) for name, figure in {**_ACCURACIES, **_OTHERS}.items()}
    return {**who, "evaluated": run.subnets is not None, "unit": run.ledger.unit, **figures}


def _approach_json(approach: Approach) -> dict[str, Any]:
    """Mean, deviation and n of each figure. n is of the runs that have it, as on the page."""
    found = {name: spread([figure(run) for run in comparable(approach)]) for name, figure in _ACCURACIES.items()}
    found |= {name: spread([figure(run) for run in approach.runs]) for name, figure in _OTHERS.items()}
    figures = {
        name: None if each is None else {"mean": _number(each.mean), "deviation": _number(each.deviation), "n": each.n}
        for name, each in found.items()
    }
    who = {"approach": approach.name, "n": len(approach.runs)}
    return {**who, "evaluated": any(run.subnets for run in approach.runs), "unit": approach.unit, **figures}


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None  # JSON has no NaN
