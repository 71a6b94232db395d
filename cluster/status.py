"""`deps status`: the state of runs, from SLURM where there is one, and from their folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cluster import slurm
from cluster.job_folder import End, ends, records
from cluster.slurm import SlurmError, Task
from pipeline.errors import UsageError
from pipeline.run_status import RunStatus, run_status

State = Literal["queued", "running", "requeued", "finished", "failed", "stopped", "not begun"]
_FAILED = frozenset({"FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "TIMEOUT"})
_NOT_YET = frozenset({"PENDING", "REQUEUED"})


@dataclass(frozen=True)
class Status:
    """A run, and the job that it was last submitted in.

    Attributes:
        state: "stopped" is what neither runs, waits nor is finished, and may be submitted again.
        job: as SLURM writes it, 12 or 12_0; empty for a run that was not submitted.
        remark: why it waits, or how it ended; may be empty.
    """

    run: RunStatus
    state: State
    job: str = ""
    remark: str = ""


@dataclass(frozen=True)
class _Job:
    number: int
    place: int
    of_array: bool
    last_end: End | None

    @property
    def name(self) -> str:
        return f"{self.number}_{self.place}" if self.of_array else str(self.number)


def status(runs: Sequence[Path], runs_folder: Path, jobs_folder: Path) -> tuple[list[Status], str | None]:
    """The status of `runs`, or without any of all runs in the two folders, by name.

    Returns:
        The statuses; and what kept SLURM from answering, where there is one that should have. They are what the run
        folders show then.

    Raises:
        UsageError: naming a run that there is not, or whose folder cannot be read.
    """
    submitted = _submitted(jobs_folder)
    folders = [run.absolute() for run in runs] or sorted(
        {*submitted, *(path.parent.absolute() for path in runs_folder.glob("*/run.json"))}
    )
    for folder in folders:
        if folder not in submitted and not (folder / "run.json").exists():
            raise UsageError(f"{folder}: is no run folder, and no job in {jobs_folder} is to begin it")
    tasks, complaint = _tasks([job for folder in folders if (job := submitted.get(folder))])
    return [_combined(run_status(folder), submitted.get(folder), tasks) for folder in folders], complaint


def _submitted(jobs_folder: Path) -> dict[Path, _Job]:
    """The newest job of each run."""
    newest = {}
    for folder, record in records(jobs_folder):
        noted = ends(folder)
        for place, run in enumerate(record.runs):
            if record.job is not None:
                of_job = [end for end in noted if (end.job, end.place) == (record.job, place)]
                newest[Path(run)] = _Job(record.job, place, len(record.runs) > 1, of_job[-1] if of_job else None)
    return newest


def _tasks(jobs: list[_Job]) -> tuple[dict[tuple[int, int], Task], str | None]:
    """What SLURM knows of `jobs`, and why it could not be asked."""
    if not jobs:
        return {}, None
    try:
        tasks = slurm.queued()
        gone = sorted({job.number for job in jobs if (job.number, job.place) not in tasks})
        return slurm.accounted(gone) | tasks, None
    except SlurmError as error:
        return {}, str(error)


def _combined(run: RunStatus, job: _Job | None, tasks: dict[tuple[int, int], Task]) -> Status:
    if job is None:
        return Status(run, run.state)
    task = tasks.get((job.number, job.place))
    if task is not None and slurm.is_live(task):
        if task.state in _NOT_YET:
            return Status(run, "requeued" if task.restarts else "queued", job.name, task.reason)
        return Status(run, "running", job.name, _times(task.restarts))
    if run.state in ("running", "finished"):
        return Status(run, run.state, job.name)
    end = job.last_end
    if end is not None and end.words.startswith("stopped: "):  # of its own accord, which SLURM takes for a failure
        return Status(run, run.state, job.name, end.words.removeprefix("stopped: "))
    if end is not None and end.words == "failed":
        return Status(run, "failed", job.name, f"exit code {end.exit_code}")
    if task is not None and task.state in _FAILED:
        return Status(run, "failed", job.name, task.state.lower().replace("_", " "))
    return Status(run, run.state, job.name, task.state.lower() if task is not None else end.words if end else "")


def _times(restarts: int) -> str:
    return f"requeued {restarts}×" if restarts else ""
