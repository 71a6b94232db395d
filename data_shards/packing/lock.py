"""A lock on a folder, so that one process at a time packs into it; it ends with its process, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import SoftFileLock, Timeout

from data_shards.errors import ShardUsageError

_LOCK, _HOLDER = ".lock", ".holder"
LOCK_NAMES = {_LOCK, _HOLDER}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within this context, `folder` is this process's alone.

    The folder is made if it is missing, and removed if it is empty at the end.

    On a file system without `flock`, a file that names the process is the lock. It is left behind by a process that is
    killed, and only on the same machine can one see that the process has ended.

    Raises:
        ShardUsageError: another process has the folder.
        OSError: the folder cannot be made or written.
    """
    release = _taken(folder)
    while release is None:
        release = _taken(folder)
    try:
        yield
    finally:
        release()
        with suppress(OSError):  # it is not empty, or another process has locked it by now
            folder.rmdir()


def _taken(folder: Path) -> Callable[[], None] | None:
    """Take the lock: the function that releases it; None if the folder was removed by its last holder meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _LOCK
    try:
        lock = open(path, "w", encoding="utf-8")  # noqa: SIM115 (closed when the lock is released)
    except FileNotFoundError:
        return None

    def release() -> None:
        with suppress(OSError):
            path.unlink()
        lock.close()

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter is raised by some network file systems
        lock.close()
        raise ShardUsageError(f"another process is packing into {folder.parent} at this moment") from None
    except OSError:
        release()
        return _held_without_flock(folder)
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
            return release
    lock.close()
    return None


def _held_without_flock(folder: Path) -> Callable[[], None] | None:
    """As `_taken`, by a file that names the holder."""
    path = folder / _HOLDER
    holder = SoftFileLock(path)
    try:
        holder.acquire(timeout=0)
    except FileNotFoundError:
        return None
    except Timeout:
        raise ShardUsageError(
            f"another process is packing into {folder.parent} at this moment: the one that {path} names. Delete that "
            "file if it has ended, on another machine: the file system has no flock, by which one would see that"
        ) from None
    return holder.release
