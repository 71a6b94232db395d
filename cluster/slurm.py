"""SLURM's clients: each call has a limit in time, as a controller that is gone keeps them waiting for minutes."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

SECONDS = 20


class SlurmError(RuntimeError):
    """A client that did not do what it was asked to; the message is one line."""


class NoSlurmHereError(SlurmError):
    """The client is not installed on this machine."""


class NoAnswerError(SlurmError):
    """The controller did not answer."""


class RefusedError(SlurmError):
    """SLURM said no, and why."""


@dataclass(frozen=True)
class Task:
    """A job, or one task of an array, as SLURM has it.

    Attributes:
        state: SLURM's own word, such as PENDING.
        reason: why it waits; empty otherwise.
        restarts: how often it was requeued.
    """

    state: str
    reason: str = ""
    restarts: int = 0


LIVE = frozenset({"PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "REQUEUED", "RESIZING"})


def is_live(task: Task | None) -> bool:
    """Whether a task still waits or runs."""
    return task is not None and task.state in LIVE


def submit(script: Path) -> int:
    """Hand a script to `sbatch`; the job's id.

    Raises:
        SlurmError: in one of its kinds.
    """
    answer = _call("sbatch", "--parsable", str(script))
    return int(answer.strip().split(";")[0])


def partitions() -> dict[str, int]:
    """The number of nodes of each partition; the one that jobs go to by default comes first.

    Raises:
        SlurmError: in one of its kinds.
    """
    found: dict[str, int] = {}
    default = ""
    for line in _call("sinfo", "--noheader", "--format=%P %D").splitlines():  # a line for each group of equal nodes
        marked, nodes = line.split()
        name = marked.rstrip("*")
        default = name if marked != name else default
        found[name] = found.get(name, 0) + int(nodes)
    return dict(sorted(found.items(), key=lambda entry: entry[0] != default))


def queued() -> dict[tuple[int, int], Task]:
    """The jobs of this user that wait, run, or ended within minutes: by job and place in the array (0 of a job that is
    none).

    Raises:
        SlurmError: in one of its kinds.
    """
    columns = ",".join(f"{name}:|" for name in ("ArrayJobID", "ArrayTaskID", "State", "RestartCnt", "Reason"))
    answer = _call("squeue", "--me", "--noheader", "--array", "--states=all", f"--Format={columns}")
    tasks = {}
    for line in answer.splitlines():
        job, place, state, restarts, reason = line.split("|")[:5]
        reason = "" if reason == "None" else reason
        tasks[int(job), int(place) if place.isdigit() else 0] = Task(state, reason, int(restarts))
    return tasks


def accounted(jobs: list[int]) -> dict[tuple[int, int], Task]:
    """What the accounting database knows of `jobs`; nothing where there is none.

    Raises:
        NoAnswerError: the database does not answer.
    """
    if not jobs:
        return {}
    ids = ",".join(map(str, jobs))
    try:
        answer = _call("sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State", f"--jobs={ids}")
    except (RefusedError, NoSlurmHereError):  # a cluster without accounting
        return {}
    tasks = {}
    for line in answer.splitlines():
        name, state = line.split("|")
        job, _, place = name.partition("_")
        if job.isdigit():
            tasks[int(job), int(place) if place.isdigit() else 0] = Task(state.split()[0])  # "CANCELLED by 1000"
    return tasks


def _call(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except FileNotFoundError:
        raise NoSlurmHereError(f"{command[0]}: is not on the PATH of this machine") from None
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"{command[0]}: no answer from SLURM's controller within {SECONDS} s") from None
    if done.returncode == 0:
        return done.stdout
    # Details come first and the error itself last, but for the advice to look at --help.
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith("Try ")]
    reason = lines[-1].removeprefix(f"{command[0]}: ").removeprefix("error: ") if lines else "no reason given"
    if "Unable to contact slurm controller" in done.stderr:
        raise NoAnswerError(f"{command[0]}: {reason}")
    raise RefusedError(reason)
