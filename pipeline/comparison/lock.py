"""One call of the command at a time works in a comparison's folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from data_shards.store.regular_file import open_regular
from pipeline.comparison.folder import LOCK
from pipeline.errors import UsageError
from pipeline.files.file_lock import try_lock

SECONDS_BETWEEN_LOOKS = 0.5
logger = logging.getLogger(__name__)


@contextmanager
def kept_to_one(folder: Path, waits: Callable[[str], object]) -> Iterator[int]:
    """Keep the folder to this call, and to the processes that it starts, as long as one of them is there.

    Where a call was killed, its runs may go on: their end is waited for, so that nothing is trained twice.

    Args:
        waits: is told what there is to wait for.

    Yields:
        The descriptor of the lock, for processes to inherit.

    Raises:
        UsageError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.fdopen(open_regular(folder / LOCK, os.O_RDWR | os.O_CREAT), "w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output {folder}: cannot be written: {error.strerror}") from None
    with lock:
        if not _taken(lock, folder):
            waits(f"{folder}: another call, or a run that one has left, is at work there; waiting for its end")
            while not _taken(lock, folder):
                time.sleep(SECONDS_BETWEEN_LOOKS)
        yield lock.fileno()


def _taken(lock: IO[str], folder: Path) -> bool:
    try:
        return try_lock(lock)
    except OSError as error:
        logger.warning("%s: its file system cannot lock files (%s): call this once at a time", folder, error.strerror)
        return True
