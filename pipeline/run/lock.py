"""One process at a time trains a run, and others can see that it does: a lock on `run.lock` in the run's folder."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import IO

from data_shards.store.regular_file import open_regular
from pipeline.errors import UsageError
from pipeline.files.file_lock import try_lock
from pipeline.run.layout import LOCK

logger = logging.getLogger(__name__)

_SECONDS_TO_TRY = 1.0  # whoever looks whether the run is going on has the lock for a moment


def hold(folder: Path) -> IO[str]:
    """Keep the run to this process, until the returned file is closed or the process ends, however it does.

    Raises:
        UsageError: another process is training it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.fdopen(open_regular(folder / LOCK, os.O_RDWR | os.O_CREAT), "w", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"run folder {folder}: cannot be written: {error.strerror}; choose another runs=…") from None
    deadline = time.monotonic() + _SECONDS_TO_TRY
    while True:
        try:
            if try_lock(lock):
                return lock
        except OSError as error:
            logger.warning(
                "run folder %s: its file system cannot lock files (%s): nothing keeps a second process from training "
                "this run; start it once only",
                folder,
                error.strerror,
            )
            return lock
        if time.monotonic() > deadline:
            lock.close()
            raise UsageError(
                f"run folder {folder}: another process is training this run; let it end, or choose another name=…"
            )
        time.sleep(0.05)


class RunLock:
    """Keeps the run in `folder` to this process from `take` on, until its context is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()

    def take(self) -> None:
        """See `hold`; once it is taken, it is kept."""
        self._file = self._file or hold(self._folder)


def is_held(folder: Path) -> bool:
    """Whether a process is training the run in `folder`, as far as its file system tells."""
    try:
        with open(open_regular(folder / LOCK), encoding="utf-8") as lock:
            return not try_lock(lock, shared=True)
    except OSError:
        return False
