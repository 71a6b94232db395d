"""MLflow's database on file systems that lack hard links or locks: made where that can be done, else told."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from pipeline.commands.sync import sync_run
from pipeline.errors import UsageError
from pipeline.tracking import outbox
from pipeline.tracking.mlflow import root_cause
from pipeline.tracking.mlflow_database import UnfitPlaceError, prepare_database
from pipeline.tracking.mlflow_run import place_of


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "mlruns" / "mlflow.db"


def write(path: Path) -> None:
    path.write_bytes(b"whole")


def fails(number: int):
    def call(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


def test_a_database_is_made_once_and_nothing_is_left_beside_it(database: Path) -> None:
    prepare_database(database, write)
    prepare_database(database, fails(errno.EIO))
    assert [path.name for path in database.parent.iterdir()] == ["mlflow.db"]
    assert database.read_bytes() == b"whole"


@pytest.mark.parametrize("lacking", ["EPERM", "EACCES", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK", "EINVAL"])
def test_without_hard_links_it_is_made_all_the_same(monkeypatch, database: Path, lacking: str) -> None:
    monkeypatch.setattr(os, "link", fails(getattr(errno, lacking)))
    prepare_database(database, write)
    assert database.read_bytes() == b"whole"
    assert {path.name for path in database.parent.iterdir()} <= {"mlflow.db", ".mlflow.db.lock"}


@pytest.mark.parametrize("links", [True, False])
def test_one_that_another_start_has_made_meanwhile_stays(monkeypatch, database: Path, links: bool) -> None:
    if not links:
        monkeypatch.setattr(os, "link", fails(errno.EPERM))

    def overtaken(path: Path) -> None:
        write(path)
        database.write_bytes(b"the other's")

    prepare_database(database, overtaken)
    assert database.read_bytes() == b"the other's"


@pytest.mark.parametrize("there_already", [True, False])
@pytest.mark.parametrize("lacking", ["ENOLCK", "ENOSYS", "EOPNOTSUPP"])
def test_without_locks_one_line_says_what_is_lacking_and_what_to_set(
    monkeypatch, database: Path, lacking: str, there_already: bool
) -> None:
    if there_already:
        prepare_database(database, write)
    monkeypatch.setattr(fcntl, "lockf", fails(getattr(errno, lacking)))
    with pytest.raises(UnfitPlaceError) as refused:
        prepare_database(database, write)
    line = str(refused.value)
    assert line.startswith(
        "set tracking.uri to a place elsewhere, sqlite:////DIR/mlflow.db: a database needs locks on files, "
    )
    assert line.endswith(f"({os.strerror(getattr(errno, lacking))}) in {database.parent}")
    told = root_cause(refused.value)  # what a training run warns of, in so many characters
    assert told.startswith(f"UnfitPlaceError: {line}"[:180])
    assert database.exists() == there_already


def test_sync_tells_the_same_and_that_it_is_no_matter_of_trying_again(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    entry = {**place_of(None)._asdict(), "experiment": "tries", "name": "a", "params": {}, "tags": {}}
    outbox.append(tmp_path, "run", entry)
    monkeypatch.setattr(fcntl, "lockf", fails(errno.ENOLCK))
    with pytest.raises(UsageError, match=r"set tracking\.uri to .*\(No locks available\)"):
        sync_run(tmp_path)
