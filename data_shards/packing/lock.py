"""One process at a time packs into a folder: a lock that ends with its process, however that ends."""

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
    """Keeps `folder`, which is made where it is missing, to this process; one that is empty in the end is removed.

    On a file system without `flock`, a file that names the process takes its place; what a process that is dead left of
    that is only known for dead on the same machine. Raises ShardUsageError where another process has the folder,
    OSError where it cannot be made or written.
    """
    release = _taken(folder)
    while release is None:
        release = _taken(folder)
    try:
        yield
    finally:
        release()
        with suppress(OSError):  # it is not empty, or another process looks at it by now
            folder.rmdir()


def _taken(folder: Path) -> Callable[[], None] | None:
    """What gives the lock back again; None if its holder removed the folder at this moment."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _LOCK
    try:
        lock = open(path, "w", encoding="utf-8")  # noqa: SIM115 (closed when the lock is given back)
    except FileNotFoundError:
        return None

    def release() -> None:
        with suppress(OSError):
            path.unlink()
        lock.close()

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter on some network file systems
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
