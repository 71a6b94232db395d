"""`deps status`: the state of runs, from SLURM where there is one, and from their folders."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from cluster import slurm
from cluster.accounting import JobOfRun, accounted_cost
from cluster.job_folder import End, ends, job_folders, read_record
from cluster.slurm import Accounts, SlurmError, Task
from pipeline.errors import RunFailure, UsageError
from pipeline.run.status import RunStatus, holds_run, run_status

T = TypeVar("T")
State = Literal["queued", "running", "requeued", "finished", "failed", "stopped", "not begun"]
_FAILED = frozenset({"FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "TIMEOUT"})


@dataclass(frozen=True)
class Status:
    """A run, and the job that it was last submitted in.

    Attributes:
        state: "stopped" is what neither runs, waits nor is finished, and may be submitted again.
        job: as SLURM writes it, 12 or 12_0; empty for a run that was not submitted.
        remark: why it waits, or how it ended; and what SLURM counts, where the run's ledger counts something else. May
            be empty.
        accounted_hours: held so far by SLURM's accounting, in the unit of the ledger; None where there is no
            accounting, or it does not know all of the run's jobs.
    """

    run: RunStatus
    state: State
    job: str = ""
    remark: str = ""
    accounted_hours: float | None = None


@dataclass(frozen=True)
class Statuses:
    """What there is to be told of runs.

    Attributes:
        found: in the order asked for, or by name.
        unreadable: a line for each damaged file. Its run is not in `found`, or shown without what the file would tell.
        no_answer: what kept SLURM from answering, where there is one that should have; the statuses are what the run
            folders show then.
    """

    found: tuple[Status, ...]
    unreadable: tuple[str, ...]
    no_answer: str | None


@dataclass(frozen=True)
class _Submitted:
    """The jobs of a run.

    Attributes:
        newest: the one that was submitted last.
        last_end: of its starts.
        all_jobs: this one, earlier ones, and those whose script somebody handed to sbatch again.
    """

    newest: JobOfRun
    of_array: bool
    last_end: End | None
    all_jobs: tuple[JobOfRun, ...]

    @property
    def name(self) -> str:
        return f"{self.newest.number}_{self.newest.place}" if self.of_array else str(self.newest.number)


def status(runs: Sequence[Path], runs_folder: Path, jobs_folder: Path) -> Statuses:
    """The status of `runs`, or without any of all runs in the two folders.

    Args:
        runs: each a run's folder, or a folder of such.

    Raises:
        UsageError: naming a folder that is neither.
    """
    unreadable: list[str] = []
    submitted = _submitted(jobs_folder, unreadable)
    if runs:
        folders = list(
            dict.fromkeys(each for run in runs for each in _asked_for(run.resolve(), submitted, jobs_folder))
        )
    else:
        folders = sorted({*submitted, *_runs_in(runs_folder)})
    queue, accounts, no_answer = _asked([job for folder in folders if (job := submitted.get(folder))])
    statuses = [
        _status(run, submitted.get(folder), queue, accounts)
        for folder, run in _readable(run_status, folders, unreadable)
    ]
    return Statuses(tuple(statuses), tuple(unreadable), no_answer)


def _asked_for(folder: Path, submitted: Collection[Path], jobs_folder: Path) -> list[Path]:
    """`folder` where it is a run; else the runs in it, those included that a job is to begin."""
    if folder in submitted or holds_run(folder):
        return [folder]
    found = sorted({*_runs_in(folder), *(run for run in submitted if run.parent == folder)})
    if not found:
        raise UsageError(f"{folder}: is no run folder and holds none, and no job in {jobs_folder} is to begin it")
    return found


def _runs_in(folder: Path) -> list[Path]:
    return [path.resolve() for path in folder.glob("*") if holds_run(path)]


def _readable(read: Callable[[Path], T], folders: Iterable[Path], unreadable: list[str]) -> Iterator[tuple[Path, T]]:
    """Each folder and what is in it; damage in one is told, and hides no other."""
    for folder in folders:
        try:
            yield folder, read(folder)
        except (UsageError, RunFailure) as error:
            unreadable.append(str(error))


def _submitted(jobs_folder: Path, unreadable: list[str]) -> dict[Path, _Submitted]:
    """The jobs of each run, whose folder may have been called by several names."""
    found: dict[Path, _Submitted] = {}
    records = list(_readable(read_record, job_folders(jobs_folder), unreadable))
    noted = dict(_readable(ends, (folder for folder, _ in records), unreadable))
    for folder, record in sorted(records, key=lambda entry: entry[1].submitted):
        submitted = datetime.fromisoformat(record.submitted).timestamp()
        for place, run in enumerate(record.runs):
            if record.job is None:
                continue
            at_place = [end for end in noted.get(folder, ()) if end.place == place]
            of_job = [end for end in at_place if end.job == record.job]
            newest = JobOfRun(record.job, place, submitted, record.processes // record.nodes)
            also = [replace(newest, number=number) for number in {end.job for end in at_place} - {record.job}]
            run_folder = Path(run).resolve()
            earlier = found[run_folder].all_jobs if run_folder in found else ()
            found[run_folder] = _Submitted(
                newest, len(record.runs) > 1, of_job[-1] if of_job else None, (*earlier, newest, *also)
            )
    return found


def _asked(jobs: list[_Submitted]) -> tuple[dict[tuple[int, int], Task], Accounts, str | None]:
    """What the queue and the accounting know of `jobs`, and why one of them could not be asked."""
    if not jobs:
        return {}, {}, None
    try:
        queue = slurm.queued()
    except SlurmError as error:
        return {}, {}, f"{error}; states are what the run folders show"
    try:
        return queue, slurm.accounted(each.number for job in jobs for each in job.all_jobs), None
    except SlurmError as error:
        return queue, {}, f"{error}; jobs that have left the queue are what the run folders show"


def _status(run: RunStatus, jobs: _Submitted | None, queue: dict[tuple[int, int], Task], accounts: Accounts) -> Status:
    if jobs is None:
        return Status(run, run.state)
    newest = jobs.newest
    task = queue.get((newest.number, newest.place))
    if task is None and (starts := newest.starts(accounts)):
        task = Task(starts[-1].state)
    found = _combined(run, jobs, task)
    cost = accounted_cost(jobs.all_jobs, accounts)
    if cost is None:
        return found
    # A ledger lags behind while its run trains, as does the accounting behind the queue.
    if found.state != "running" and run.hours is not None and cost.contradicts(run.hours):
        counts = f"SLURM counts {cost.hours:,.3f} h"
        found = replace(found, remark=f"{found.remark}; {counts}" if found.remark else counts)
    return replace(found, accounted_hours=cost.hours)


def _combined(run: RunStatus, jobs: _Submitted, task: Task | None) -> Status:
    if task is not None and slurm.is_live(task):
        if task.state in slurm.WAITING:
            return Status(run, "requeued" if task.restarts else "queued", jobs.name, task.reason)
        return Status(run, "running", jobs.name, _times(task.restarts))
    if run.state in ("running", "finished"):
        return Status(run, run.state, jobs.name)
    end = jobs.last_end
    if end is not None and end.words.startswith("stopped: "):  # of its own accord, which SLURM takes for a failure
        return Status(run, run.state, jobs.name, end.words.removeprefix("stopped: "))
    if end is not None and end.words == "failed":
        return Status(run, "failed", jobs.name, f"exit code {end.exit_code}")
    if task is not None and task.state in _FAILED:
        return Status(run, "failed", jobs.name, task.state.lower().replace("_", " "))
    return Status(run, run.state, jobs.name, task.state.lower() if task is not None else end.words if end else "")


def _times(restarts: int) -> str:
    return f"requeued {restarts}×" if restarts else ""
