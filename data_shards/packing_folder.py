"""The folder beside the target in which a data set is packed: locked, kept after a kill, renamed when complete."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from data_shards.durable_file import WriteError
from data_shards.errors import ShardDamage, ShardUsageError

_LOCK_NAME = ".lock"


class PackingFolder:
    """`OUT.packing`: `shards` is what becomes `OUT`, `records` tells what of it is finished."""

    def __init__(self, out: Path):
        self.out = out
        self.root = out.with_name(out.name + ".packing")
        self.shards, self.records = self.root / "shards", self.root / "records"

    def publish(self) -> None:
        """Gives the packed shards their name. From here on they are whole, whatever happens."""
        try:
            os.rename(self.shards, self.out)
        except OSError as error:
            raise ShardUsageError(f"{self.out}: cannot put the packed shards there: {error.strerror}") from None
        self.remove()

    def remove(self) -> None:
        """Removes the folder, records and all."""
        shutil.rmtree(self.root)

    def prepare(self, splits: list[str]) -> None:
        """Makes what folders are missing, and clears away what is neither a shard nor a record."""
        for left_over in self.root.iterdir():
            if left_over.name not in (_LOCK_NAME, self.shards.name, self.records.name):
                shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()
        self.records.mkdir(exist_ok=True)
        for split in splits:
            (self.shards / split).mkdir(parents=True, exist_ok=True)

    def keep_only(self, files: set[Path]) -> None:
        """Removes from `shards` all files but these: left-overs of another packing into the same place."""
        for path in list(self.shards.rglob("*")):
            if path.is_file() and path not in files:
                path.unlink()
        for folder in list(self.shards.iterdir()):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


@contextmanager
def packing_folder(out: Path) -> Iterator[PackingFolder]:
    """The packing folder of `out`, locked against other processes. Raises ShardUsageError if one is packing there."""
    folder = PackingFolder(out)
    lock = _locked(folder.root)
    while lock is None:
        lock = _locked(folder.root)
    with lock:
        yield folder


def clear_left_over(out: Path) -> None:
    """Removes the packing folder of a pack that was killed when `out` was complete already."""
    if PackingFolder(out).root.exists():
        with suppress(ShardUsageError), packing_folder(out) as folder:
            folder.remove()


def _locked(root: Path) -> IO[str] | None:
    """The lock file of a packing folder, locked while it is open; None if its holder removed it at this moment."""
    root.mkdir(parents=True, exist_ok=True)
    try:
        lock = open(root / _LOCK_NAME, "w", encoding="utf-8")  # noqa: SIM115 (the caller closes it)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(lock.fileno()).st_ino == os.stat(root / _LOCK_NAME).st_ino:
            return lock
    except FileNotFoundError:
        pass
    except OSError:
        lock.close()
        raise ShardUsageError(f"another process is packing into {root.with_suffix('')} at this moment") from None
    lock.close()
    return None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tells a failure to write in one line. What is finished is kept for the next attempt."""
    try:
        yield
    except OSError as error:
        if isinstance(error, WriteError):
            path, reason = Path(error.filename), error.strerror
        else:
            reason = f"cannot be written: {error.strerror or error}"
        raise ShardDamage(path, f"{reason}; the finished shards are kept: run it again to go on") from None
