"""Where MLflow's SQLite database is made: as a whole, on whatever file system can hold one."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

from data_shards.store.regular_file import open_regular


class UnfitPlaceError(RuntimeError):
    """A folder whose file system lacks what a database needs; the message is one line that says what to do."""


def prepare_database(database: Path, create: Callable[[Path], object]) -> None:
    """Have `database` there, whole, and in a place where it can be worked with.

    Args:
        create: makes a database of MLflow's at a path. Its dozens of migrations cannot be gone on with where a kill cut
            them: so it is made beside, and published only when it is complete. Another start may be faster.

    Raises:
        UnfitPlaceError: SQLite could not lock it.
        OSError: the folder cannot be written.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    _check_locks(database)
    if database.exists():
        return
    with TemporaryDirectory(prefix=f".{database.name}-", dir=database.parent) as folder:
        beside = Path(folder) / database.name
        create(beside)
        try:
            os.link(beside, database)
        except FileExistsError:
            pass
        except OSError:  # no hard links here: FAT, SMB, some FUSE and network mounts
            _move(beside, database)


def _check_locks(database: Path) -> None:
    """Try what SQLite does: without it, its own words are that the database is locked, or a disk fails."""
    lacking = None
    with NamedTemporaryFile(prefix=f".{database.name}-", dir=database.parent) as probe:
        try:
            fcntl.lockf(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lacking = error.strerror
    if lacking:
        raise UnfitPlaceError(
            "set tracking.uri to a place elsewhere, sqlite:////DIR/mlflow.db: a database needs locks on files, "
            f"which are not to be had ({lacking}) in {database.parent}"
        )


def _move(beside: Path, database: Path) -> None:
    """Give `beside` the name of `database`, where nothing has it: under a lock, as renaming would replace it."""
    with open(open_regular(database.parent / f".{database.name}.lock", os.O_RDWR | os.O_CREAT), "wb") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # for as long as two calls take
        if not database.exists():
            os.rename(beside, database)
