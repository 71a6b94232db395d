"""Locks that end with their process, as far as a file system has them."""

from __future__ import annotations

import fcntl
from typing import IO, Any


def try_lock(file: IO[Any], shared: bool = False) -> bool:
    """Whether `file` is locked by this process from here on, until it is closed; False where another process has it.

    Raises OSError where the file system has no locks: some network and FUSE mounts.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the latter on some network file systems
        return False
    return True
