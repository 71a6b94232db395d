"""After a loss that is not finite: back to the newest checkpoint, past the steps since, where the recipe allows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.checkpoints.checkpoint import Counters, Misfit, of_any_run, remove_newer
from pipeline.checkpoints.going_on import take_up
from pipeline.engines.protocol import TrainingState
from pipeline.errors import PeerFailure, RunFailure
from pipeline.processes.group import Processes


class Diverged(RunFailure):
    """A loss was not finite, and the run may not go back for it, or cannot; told by the main process."""


@dataclass(frozen=True)
class RollBack:
    """Where a run goes on: from an earlier `state`, but at the step that it had reached.

    The schedule and the data go on as well: the steps since would fail again, as everything in them follows from
    their numbers.

    Attributes:
        lines: what to tell about it.
    """

    state: TrainingState
    counters: Counters
    lines: tuple[str, ...]


def roll_back(
    run_folder: Path,
    most: int,
    processes: Processes,
    counters: Counters,
    failure: RunFailure,
    misfit: Misfit = of_any_run,
) -> RollBack:
    """Load the run's newest whole checkpoint, and remove damaged ones after it.

    All processes must call it together, and come to the same.

    Args:
        most: times that a run may go back.
        failure: why it goes back; the same on all processes.

    Raises:
        Diverged: `failure`, where the recipe does not allow it, or not once more, or there is no checkpoint yet.
            PeerFailure on all processes but the main one, which tells it.
        RunFailure: where the checkpoints are damaged.
    """
    told_once = Diverged if processes.is_main else PeerFailure
    if counters.roll_backs >= most:
        so_often = f"the run has gone back {counters.roll_backs}× already; " if counters.roll_backs else ""
        raise told_once(
            f"{failure}; nothing was saved since. {so_often}checkpoint.roll_backs={counters.roll_backs + 1} with "
            "--resume passes over the steps since the last checkpoint; a lower learning rate needs a new run: name=…"
        )
    warnings: list[str] = []
    try:
        checkpoint = take_up(run_folder, processes, warnings, misfit)
    except RunFailure as another:
        raise type(another)(f"{failure}; {another}") from None
    if checkpoint is None:
        raise told_once(f"{failure}; there is no checkpoint yet to go back to, see checkpoint.every")
    processes.on_main(lambda: remove_newer(run_folder, checkpoint.step))
    first, end, count = checkpoint.step, counters.step, counters.roll_backs + 1
    told = (
        f"{failure}: back to the checkpoint of step {first}; steps {first} to {end - 1} are passed over "
        f"(roll-back {count} of {most})"
    )
    passed = checkpoint.counters.passed_over + end - first
    return RollBack(checkpoint.state, Counters(end, checkpoint.counters.entered, count, passed), (*warnings, told))
