"""Taking up a run's newest checkpoint: all processes read it for themselves, and all must find the same one."""

from __future__ import annotations

import socket
from pathlib import Path

from pipeline.checkpoints.checkpoint import Checkpoint, Misfit, load_newest_checkpoint
from pipeline.errors import RunFailure
from pipeline.processes.group import Processes


def take_up(run_folder: Path, processes: Processes, warnings: list[str], misfit: Misfit) -> Checkpoint | None:
    """The newest whole checkpoint; None where none was ever written. All processes must call it together.

    Processes that went on from different steps would train on, without an error, what no run was ever like.

    Args:
        warnings: gets a line for each newer one that was passed over, as it is damaged or was not finished.
        misfit: see `belonging.misfit_of`.

    Raises:
        RunFailure: where there are checkpoints, but none is whole; or where processes do not find the same one, as
            in folders that they do not share. PeerFailure on the processes that have nothing to tell.
    """
    checkpoint = processes.together(lambda: load_newest_checkpoint(run_folder, warnings, misfit))
    found = processes.gathered([(socket.gethostname(), checkpoint.step if checkpoint else None)])
    processes.together(lambda: _check_same(run_folder, found))
    return checkpoint


def _check_same(run_folder: Path, found: list[tuple[str, int | None]]) -> None:
    (first_host, first), *others = found
    for rank, (host, step) in enumerate(others, start=1):
        if step != first:
            raise RunFailure(
                f"run folder {run_folder.absolute()}: process {rank} on {host} finds {_found(step)}, process 0 on "
                f"{first_host} {_found(first)}: it must be one folder that all processes share and can read"
            )


def _found(step: int | None) -> str:
    return "no checkpoint" if step is None else f"the checkpoint of step {step}"
