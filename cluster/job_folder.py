"""The folder of a job, `jobs/NAME-STAMP/`: everything that was submitted, frozen, to be read and submitted again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import AfterValidator, Field, TypeAdapter

from cluster.source import freeze
from data_shards.one_line import shown
from data_shards.store.regular_file import read_regular
from pipeline.errors import UsageError
from pipeline.files.json_file import DamagedError, checked, read_json
from pipeline.recipe.recipe import Recipe, resolved

SCRIPT, RECORD, ENDS, CODE = "job.sh", "job.json", "ends.txt", "code"
_MOST_BYTES = 1 << 24  # of the noted ends


def _checked_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


@dataclass(frozen=True)
class JobRecord:
    """`job.json`: what the folder was made for.

    Attributes:
        runs: folders of the runs, by place in the array.
        submitted: ISO 8601.
        job: SLURM's number; None before it was submitted.
        code: of `source.freeze`.
    """

    runs: tuple[str, ...]
    launcher: str
    nodes: Annotated[int, Field(ge=1)]
    processes: Annotated[int, Field(ge=1)]
    submitted: Annotated[str, AfterValidator(_checked_time)]
    job: int | None = None
    code: dict[str, str | None] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write the record, whole or not at all."""
        beside = folder / f".{RECORD}.tmp"
        beside.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        beside.replace(folder / RECORD)


def read_record(folder: Path) -> JobRecord:
    """The record in `folder`.

    Raises:
        UsageError: it cannot be read.
    """
    path = folder / RECORD
    try:
        return checked(read_json(path), TypeAdapter(JobRecord))
    except (OSError, DamagedError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: is no record of a job ({reason}); remove its folder to do without it") from None


def new_folder(jobs: Path, name: str) -> Path:
    """A path for a new job's folder, absolute and free."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    path = jobs.absolute() / f"{name}-{stamp}"
    taken = 1
    while path.exists():
        taken += 1
        path = path.with_name(f"{name}-{stamp}-{taken}")
    return path


def write_folder(folder: Path, recipes: Sequence[Recipe], script: str, record: JobRecord) -> JobRecord:
    """Write code, recipes, script and record; nothing of it is left where that fails.

    What another submission put there at the same moment stays.

    Returns:
        The record, with the version of the code in it.

    Raises:
        UsageError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        record = replace(record, code=freeze(folder / CODE))
        for place, recipe in enumerate(recipes):
            name = "config.yaml" if len(recipes) == 1 else f"config-{place}.yaml"
            text = yaml.safe_dump(resolved(recipe), sort_keys=False, allow_unicode=True)
            (folder / name).write_text(text, encoding="utf-8")
        (folder / SCRIPT).write_text(script, encoding="utf-8")
        record.write(folder)
    except OSError as error:
        remove(folder)
        raise _unwritable(folder, error) from None
    return record


def _unwritable(folder: Path, error: OSError) -> UsageError:
    return UsageError(f"job folder {folder}: cannot be written: {error.strerror}; choose another --jobs")


def job_folders(jobs: Path) -> list[Path]:
    """The job folders in the folder `jobs`."""
    return [path.parent for path in jobs.glob(f"*/{RECORD}")]


def records(jobs: Path) -> list[tuple[Path, JobRecord]]:
    """The job folders in the folder `jobs`, and what they were made for.

    Raises:
        UsageError: one of them cannot be read.
    """
    return [(folder, read_record(folder)) for folder in job_folders(jobs)]


def remove(folder: Path) -> None:
    """Remove a folder of a job that was not submitted."""
    shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class End:
    """How a start of a job ended, as its script noted it: 'finished', 'requeued', 'failed', 'stopped …'."""

    job: int
    place: int  # in the array; 0 of a job that is none
    restarts: int
    exit_code: int
    time: int  # Unix seconds
    words: str


def ends(folder: Path) -> list[End]:
    """All ends that the scripts of this folder's jobs noted, in order.

    Raises:
        UsageError: naming a line that is none, such as one that a full disk cut short.
    """
    path = folder / ENDS
    try:
        lines = read_regular(path, _MOST_BYTES).decode("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    found = []
    for line in lines:
        try:
            job, place, restarts, code, time, words = line.split(maxsplit=5)
            found.append(End(int(job), int(place), int(restarts), int(code), int(time), words))
        except ValueError:
            raise UsageError(f"{path}: {shown(line)} is not the end of a start; correct or remove the line") from None
    return found
