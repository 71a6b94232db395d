"""What earlier starts of a run have left to go on from: a checkpoint, and the account of what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoints.belonging import misfit_of
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.going_on import take_up
from pipeline.methods.schedule import Schedule
from pipeline.processes.group import Processes
from pipeline.recipe.recipe import Recipe
from pipeline.run.layout import LEDGER, METRICS
from pipeline.tracking.ledger import Ledger, LedgerRecord, held_since, process_start_time, unit_for
from pipeline.tracking.metrics import lost_rows


@dataclass(frozen=True)
class Left:
    """What earlier starts of a run have left to go on from.

    Attributes:
        checkpoint: None where the run begins.
        ledger: goes on from what they have cost.
        warnings: what to tell of it, on the main process.
    """

    checkpoint: Checkpoint | None
    ledger: Ledger
    warnings: tuple[str, ...]

    @property
    def step(self) -> int:
        return self.checkpoint.step if self.checkpoint else 0


def take_up_run(recipe: Recipe, schedule: Schedule, resume: bool, processes: Processes) -> Left:
    """Read what earlier starts left. All processes must call it together, and come to the same.

    Raises:
        RunFailure, LedgerError: where there is something, and it cannot be gone on from.
    """
    warnings: list[str] = []
    checkpoint = take_up(recipe.folder, processes, warnings, misfit_of(schedule)) if resume else None
    step = checkpoint.step if checkpoint else 0
    processes.on_main(lambda: warnings.extend(lost(recipe.folder, step)))
    return Left(checkpoint, processes.together(lambda: open_ledger(recipe, processes, checkpoint)), tuple(warnings))


def open_ledger(recipe: Recipe, processes: Processes, checkpoint: Checkpoint | None) -> Ledger:
    """The run's ledger, going on from what earlier starts have cost."""
    ledger = Ledger(
        recipe.folder / LEDGER,
        processes.world,
        unit_for(processes.device.type),
        recipe.cost.price_per_gpu_hour if processes.device.type == "cuda" else None,
        # The job's time is told by the clock of the first node, where the main process is; others may differ.
        held_since() if processes.is_main else process_start_time(),
        earlier=LedgerRecord.from_json(checkpoint.ledger) if checkpoint else None,
    )
    ledger.step = checkpoint.step if checkpoint else 0
    return ledger


def lost(folder: Path, step: int) -> Iterator[str]:
    """A line on the figures, and one on the ledger, of a run that goes on at `step`, where they are not there."""
    if rows := lost_rows(folder / METRICS, step):
        yield rows
    if (folder / METRICS).exists() and not (folder / LEDGER).exists():
        known = f"only what the checkpoint of step {step} tells of is counted" if step else "all of it is lost"
        yield f"{folder / LEDGER}: is not there; of what earlier starts cost, {known}"
