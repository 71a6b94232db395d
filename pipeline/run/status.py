"""How far a run is and what it costs, from its folder alone: while it trains, and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.errors import RunFailure
from pipeline.run.description import RunDescription, RunPhase, read_description
from pipeline.run.layout import CONFIG, LEDGER, METRICS, RUN
from pipeline.run.lock import is_held
from pipeline.run.logged_steps import logged_steps
from pipeline.supernet.store import is_saved
from pipeline.tracking.ledger import IDLE, LedgerRecord, read_ledger
from pipeline.tracking.metrics import MetricsError, last_step, lost_rows

RunState = Literal["not begun", "running", "stopped", "finished"]


@dataclass(frozen=True)
class RunStatus:
    """A run as its folder shows it.

    Attributes:
        state: "stopped" is a run that is neither trained by a process now nor finished.
        step: optimizer steps done, by the last line logged.
        steps: of the whole run; 0 of a run that has not begun.
        hours: held so far, in `unit`; None before there is a ledger.
        expected_hours: at the run's end, the work that is left taken to cost as much per MAC as that done; None while
            nothing is done.
        seconds_left: of training, by the same estimate.
        training_macs: so far; None where they are not counted.
    """

    folder: Path
    state: RunState
    step: int = 0
    steps: int = 0
    unit: str | None = None
    hours: float | None = None
    expected_hours: float | None = None
    price_per_hour: float | None = None
    seconds_left: float | None = None
    training_macs: int | None = None


def holds_run(folder: Path) -> bool:
    """Whether a run was begun in `folder`, whatever has become of its files."""
    return any((folder / name).exists() for name in (RUN, CONFIG))


def run_status(folder: Path) -> RunStatus:
    """The status of the run in `folder`, whether or not it has begun.

    Raises:
        UsageError: where there is a run that cannot be read.
        RunFailure: where files of it are damaged, or figures lost.
    """
    if not holds_run(folder):
        return RunStatus(folder, "running" if is_held(folder) else "not begun")
    description = read_description(folder)
    step, metrics = _last_step(folder / METRICS), folder / METRICS
    ledger = read_ledger(folder / LEDGER) if step or (folder / LEDGER).exists() else None
    logged, finished = logged_steps(folder, description.steps, ledger), is_saved(folder)
    # A run that was taken up from an older checkpoint measures again what is before its last row, for a while.
    if step < logged and (lost := lost_rows(metrics, logged)):
        raise RunFailure(lost)
    step = description.steps if finished else step
    state: RunState = "running" if is_held(folder) else "finished" if finished else "stopped"
    if ledger is None:
        return RunStatus(folder, state, step, description.steps)
    left = 0.0 if finished else _hours_left(description, ledger, step)
    return RunStatus(
        folder,
        state,
        step,
        description.steps,
        ledger.unit,
        ledger.hours,
        None if left is None else ledger.hours + left,
        ledger.price_per_hour,
        None if left is None else left * 3600 / description.world_size,
        ledger.training_macs,
    )


def _last_step(metrics: Path) -> int:
    try:
        return last_step(metrics)
    except MetricsError as error:
        raise RunFailure(str(error)) from None


def _hours_left(description: RunDescription, ledger: LedgerRecord, step: int) -> float | None:
    """What the steps after `step` will cost; None while there is nothing to go by.

    Time in no category (starting, waiting for others) is not in it: it comes once with each start.
    """
    done, whole = (_work(description.phases, end) for end in (step, description.steps))
    if done == 0:
        return None
    return (ledger.hours - ledger.hours_by_category()[IDLE]) * (whole - done) / done


def _work(phases: Sequence[RunPhase], end: int) -> float:
    """MACs per image of all steps before `end`."""
    return sum(phase.macs_per_image * max(0, min(end, phase.end) - phase.start) for phase in phases)
