"""What a run folder holds for a report, read once and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter

from pipeline.errors import UsageError
from pipeline.files.json_file import checked, read_json
from pipeline.files.whole_file import DamagedError
from pipeline.methods.phases import ALONE, FULL
from pipeline.recipe.recipe import resolved
from pipeline.run.description import RunDescription, RunPhase, read_description
from pipeline.run.folder import read_config, read_recipe
from pipeline.run.layout import EVALUATION, LEDGER, METRICS
from pipeline.run.logged_steps import logged_steps
from pipeline.supernet.store import check_supernet
from pipeline.tracking.ledger import TRAINING_MACS, LedgerError, LedgerRecord, cost_metric, read_ledger
from pipeline.tracking.metrics import MetricsError, Series, read_metrics
from pipeline.tracking.outbox import flatten


class ReportError(ValueError):
    """A report that cannot be written; the message is one line with the file and what is wrong with it."""


class SubnetResult(BaseModel):
    """A subnet in `evaluation.json`, recalibrated, on the held-out images; accuracies in per cent."""

    subnet: str
    name: str
    pareto: bool  # of the Pareto row; otherwise a subnet that somebody asked for
    macs: int = Field(gt=0)
    params: int = Field(gt=0)
    top1: float
    top5: float
    loss: float


@dataclass(frozen=True)
class RunRecord:
    """A run as a report needs it. `subnets` is by ascending MACs, and None when the run was not evaluated."""

    folder: Path
    info: RunDescription
    recipe: dict[str, str]  # nested keys joined by dots
    metrics: dict[str, Series]
    ledger: LedgerRecord
    subnets: tuple[SubnetResult, ...] | None

    @property
    def pareto(self) -> tuple[SubnetResult, ...]:
        """The evaluated subnets of the Pareto row, each once: what accuracies of the whole run are stated over."""
        return tuple({subnet.subnet: subnet for subnet in self.subnets or () if subnet.pareto}.values())

    @property
    def others(self) -> tuple[SubnetResult, ...]:
        """The evaluated subnets outside the Pareto row, each once."""
        row = {subnet.subnet for subnet in self.pareto}
        others = {subnet.subnet: subnet for subnet in self.subnets or () if subnet.subnet not in row}
        return tuple(others.values())

    @property
    def cost(self) -> Series | None:
        """The hours so far, in the ledger's unit, over the steps."""
        return self.metrics.get(cost_metric(self.ledger.unit))

    @property
    def training_macs(self) -> Series | None:
        """The multiply-accumulates of training so far, over the steps."""
        return self.metrics.get(TRAINING_MACS)

    @property
    def steps_done(self) -> int:
        """The last step that was measured: fewer than planned when the run was stopped."""
        return max((int(series.steps[-1]) for series in self.metrics.values()), default=0)

    @property
    def epochs_done(self) -> float:
        """Epochs trained, planned ones if the run is complete."""
        return min(self.steps_done / self.info.steps_per_epoch, self.info.epochs)

    @property
    def phases(self) -> tuple[RunPhase, ...]:
        """The phases that last: one of no steps (a ramp left out) is no phase."""
        return tuple(phase for phase in self.info.phases if phase.end > phase.start)

    @property
    def shrink_start(self) -> int | None:
        """The step from which subnets are trained, in a run that first trains the full model alone."""
        shrinking = (phase.start for phase in self.phases if set(phase.slots) != {FULL})
        return next(shrinking, None) or None  # from the first step on, nothing was there to shrink

    def epochs(self, series: Series) -> np.ndarray:
        """The steps of a series in epochs."""
        return series.steps / self.info.steps_per_epoch


# `evaluation.json`; an earlier version wrote the list alone.
_Evaluation = Annotated[
    list[SubnetResult],
    BeforeValidator(lambda content: content.get("subnets") if isinstance(content, dict) else content),
]


def read_run(folder: Path) -> RunRecord:
    """Read a run folder.

    Raises:
        ReportError: a file is missing or malformed, or figures are lost. Only `evaluation.json` may be missing.
        RunFailure: the weights that the figures are of are damaged.
    """
    if not folder.is_dir():
        raise ReportError(f"{folder}: no such run folder")
    try:
        info = read_description(folder)
        recipe = _recipe(folder)
        ledger = read_ledger(folder / LEDGER)
        logged = logged_steps(folder, info.steps, ledger)  # before they are read: a run that trains goes on
        metrics = read_metrics(folder / METRICS)
    except (UsageError, MetricsError, LedgerError) as error:
        raise ReportError(str(error)) from error
    check_supernet(folder)
    record = RunRecord(folder, info, recipe, metrics, ledger, read_evaluation(folder / EVALUATION))
    if record.steps_done < logged:
        raise ReportError(
            f"{folder / METRICS}: ends at step {record.steps_done}, the run was measured to step {logged}; "
            "restore it from a copy; a run that is not finished measures again what it lacks with --resume"
        )
    return record


def _recipe(folder: Path) -> dict[str, str]:
    """The recipe's keys, with today's defaults for those that came later than the run, so that it is still of the same
    approach as a run of today; as they were written, where they are of no recipe of today."""
    try:
        return flatten(resolved(read_recipe(folder)))
    except UsageError:
        return flatten(read_config(folder))


def read_evaluation(path: Path) -> tuple[SubnetResult, ...] | None:
    """The subnets in `evaluation.json` or `validation.json`, by ascending MACs; None where there is no such file.

    Raises:
        ReportError: it is malformed.
    """
    if not path.exists():
        return None
    try:
        found = checked(read_json(path), TypeAdapter(_Evaluation))
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror})") from None
    except DamagedError as damage:
        raise ReportError(f"{path}: {damage}; deps evaluate RUN writes it anew") from None
    row = {subnet.name for subnet in found if subnet.pareto}
    if not row and any(subnet.name == ALONE for subnet in found):  # of a run that trains no other
        return tuple(sorted(found, key=lambda subnet: subnet.macs))
    if missing := [name for name in ("smallest", "full") if name not in row]:
        raise ReportError(f"{path}: lacks the Pareto row's {' and '.join(missing)}; deps evaluate RUN writes it anew")
    return tuple(sorted(found, key=lambda subnet: subnet.macs))
