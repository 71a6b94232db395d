"""SLURM's clients: each call has a limit in time, as a controller that is gone keeps them waiting for minutes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS = 20
# What a person would see of the queue without asking for it: another choice hides jobs and partitions.
_PREFERENCES = ("SQUEUE_", "SINFO_", "SACCT_")
# Of the variables that a job has, what its clients need; the others would be inherited by a job submitted from it.
_OF_EVERY_JOB = ("SLURM_CONF", "SLURM_JWT")
# What clients say that gave up waiting: the controller may have done what it was asked to all the same.
_NO_ANSWER = ("Unable to contact slurm controller", "Socket timed out", "Zero Bytes were transmitted")
_RANGE = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")


class SlurmError(RuntimeError):
    """A client that did not do what it was asked to; the message is one line."""


class NoSlurmHereError(SlurmError):
    """The client is not installed on this machine."""


class NoAnswerError(SlurmError):
    """The controller, or the accounting database, did not answer, or not as it was asked to."""


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


@dataclass(frozen=True)
class Partition:
    """A part of the cluster.

    Attributes:
        time: the longest that a job may run there, as SLURM writes it; None is any.
    """

    nodes: int
    time: str | None

    def __str__(self) -> str:
        return f"{self.nodes} nodes" if self.time is None else f"{self.nodes} nodes, up to {self.time}"


@dataclass(frozen=True)
class Held:
    """What one start of a job, or of one task of an array, held.

    Attributes:
        state: SLURM's own word; REQUEUED for a start that was followed by another.
        submitted: Unix seconds; when it was requeued, for the starts after the first.
        seconds: up to its end, or up to now; 0 while it waits.
    """

    state: str
    submitted: int
    seconds: int
    nodes: int


# By job and place in the array (0 of a job that is none): the starts, the newest last.
Accounts = Mapping[int, Mapping[int, Sequence[Held]]]

WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
LIVE = WAITING | {"CONFIGURING", "RUNNING", "SIGNALING", "STAGE_OUT", "COMPLETING", "SUSPENDED", "STOPPED", "RESIZING"}


def is_live(task: Task | None) -> bool:
    """Whether a task still waits or runs."""
    return task is not None and task.state in LIVE


def submit(script: Path) -> int:
    """Hand a script to `sbatch`; the job's id.

    The options in the script are given as arguments too: only so they are stronger than SBATCH_TIMELIMIT and its like.

    Raises:
        SlurmError: in one of its kinds.
    """
    lines = script.read_text(encoding="utf-8").splitlines()
    options = [word for line in lines if line.startswith("#SBATCH ") for word in shlex.split(line)[1:]]
    answer = _call("sbatch", "--parsable", *options, str(script)).strip()
    with _legible("sbatch", answer):
        return int(answer.split(";")[0])


def partitions() -> dict[str, Partition]:
    """All partitions by name, hidden ones as well; the one that jobs go to by default comes first.

    Raises:
        SlurmError: in one of its kinds.
    """
    found: dict[str, Partition] = {}
    default = ""
    answer = _call("sinfo", "--all", "--noheader", "--format=%P %D %l")
    for line in answer.splitlines():  # a line for each group of equal nodes
        with _legible("sinfo", line):
            marked, nodes, time = line.split()
            name = marked.rstrip("*")
            default = name if marked != name else default
            others = found[name].nodes if name in found else 0
            found[name] = Partition(others + int(nodes), time if time[0].isdecimal() else None)
    return dict(sorted(found.items(), key=lambda entry: entry[0] != default))


def queued() -> dict[tuple[int, int], Task]:
    """The jobs of this user that wait, run, or ended within minutes: by job and place in the array (0 of a job that is
    none).

    Raises:
        SlurmError: in one of its kinds.
    """
    columns = ",".join(f"{name}:|" for name in ("ArrayJobID", "ArrayTaskID", "State", "RestartCnt", "Reason"))
    answer = _call("squeue", "--me", "--all", "--noheader", "--array", "--states=all", f"--Format={columns}")
    tasks = {}
    for line in answer.splitlines():
        with _legible("squeue", line):
            job, place, state, restarts, reason = line.split("|")[:5]
            reason = "" if reason == "None" else reason
            tasks[int(job), int(place) if place.isdigit() else 0] = Task(state, reason, int(restarts))
    return tasks


def accounted(jobs: Iterable[int]) -> Accounts:
    """What the accounting database knows of each start of `jobs`; nothing where there is no accounting.

    Raises:
        NoAnswerError: the database does not answer.
    """
    ids = ",".join(map(str, sorted(set(jobs))))
    if not ids:
        return {}
    # --duplicates: also the starts of a job before it was requeued.
    options = ("--noheader", "--parsable2", "--allocations", "--duplicates", "--noconvert", f"--jobs={ids}")
    try:
        answer = _call("sacct", *options, "--format=JobID,State,Submit,ElapsedRaw,NNodes", SLURM_TIME_FORMAT="%s")
    except (RefusedError, NoSlurmHereError):  # a cluster without accounting
        return {}
    found: dict[int, dict[int, list[Held]]] = {}
    for line in answer.splitlines():
        with _legible("sacct", line):
            name, state, submitted, seconds, nodes = line.split("|")
            job, _, place = name.partition("_")
            held = Held(state.split()[0], int(submitted), int(seconds), int(nodes))  # "CANCELLED by 1000"
            for each in _places(place):
                found.setdefault(int(job), {}).setdefault(each, []).append(held)
    for tasks in found.values():
        for starts in tasks.values():
            starts.sort(key=lambda held: held.submitted)
    return found


@contextmanager
def _legible(client: str, line: str) -> Iterator[None]:
    """SLURM's own clients print what they were asked for; a site's wrapper around one may not."""
    try:
        yield
    except (ValueError, IndexError):
        raise NoAnswerError(f"{client}: {line!r} is not what it was asked to print") from None


def _places(text: str) -> list[int]:
    """Places in an array: "" (of no array), "3", or of tasks that never started all at once "[1-3,7%2]", "[0-8:2]"."""
    if not text:
        return [0]
    places = []
    for first, last, step in _RANGE.findall(text.split("%")[0]):  # after the % comes how many may run at once
        places += range(int(first), int(last or first) + 1, int(step or 1))
    return places


def _call(*command: str, **environment: str) -> str:
    try:
        done = subprocess.run(
            command,
            env={**_environment(), **environment},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=SECONDS,
        )
    except FileNotFoundError:
        raise NoSlurmHereError(f"{command[0]}: is not on the PATH of this machine") from None
    except subprocess.TimeoutExpired:
        raise NoAnswerError(f"{command[0]}: no answer from SLURM within {SECONDS} s") from None
    if done.returncode == 0:
        return done.stdout
    # Details come first and the error itself last, but for the advice to look at --help.
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith("Try ")]
    reason = lines[-1].removeprefix(f"{command[0]}: ").removeprefix("error: ") if lines else "no reason given"
    if any(words in done.stderr for words in _NO_ANSWER):
        raise NoAnswerError(f"{command[0]}: {reason}")
    raise RefusedError(reason)


def _environment() -> dict[str, str]:
    """Ours, without what would have clients answer for another place than was asked."""
    from_a_job = "SLURM_JOB_ID" in os.environ
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_PREFERENCES)
        and not (from_a_job and name.startswith("SLURM_") and name not in _OF_EVERY_JOB)
    }
