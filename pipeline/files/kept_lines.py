"""A file that grows by a line for each thing that was done, and is kept to one process while it is open.

What a kill leaves of a line is taken away, and lines that were damaged do not count: the rest goes on.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from data_shards.store.regular_file import open_regular
from pipeline.errors import UsageError
from pipeline.files.file_lock import try_lock
from pipeline.files.json_file import checked
from pipeline.files.sealed_line import sealed, unsealed
from pipeline.files.whole_file import DamagedError, failures_named

logger = logging.getLogger(__name__)

T = TypeVar("T")


class KeptLines(Generic[T]):
    """The file at `path`, made where it is not there; a context.

    Args:
        shape: of what a line holds.
        busy: told where another process has the file open.

    Attributes:
        found: what its lines hold, in their order.

    Raises:
        UsageError: where another process has it open. OSError: where the file cannot be had.
    """

    def __init__(self, path: Path, shape: TypeAdapter[T], busy: str) -> None:
        self._path = path
        with failures_named(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._file = open(descriptor, "ab+", buffering=0)  # noqa: SIM115 (closed on leaving the context)
        try:
            self._lock(busy)
            self.found = self._read(shape)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> KeptLines[T]:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, content: Mapping[str, Any]) -> None:
        """Append a line.

        Raises:
            OSError: naming the file, which cannot be written.
        """
        with failures_named(self._path):
            left = (sealed(content) + "\n").encode()
            while left:  # the last of a disk's space takes a part of a line
                left = left[self._file.write(left) :]

    def _lock(self, busy: str) -> None:
        try:
            free = try_lock(self._file)
        except OSError as error:
            logger.warning("%s: its file system cannot lock files (%s)", self._path, error.strerror)
            return
        if not free:
            raise UsageError(f"{self._path}: {busy}")

    def _read(self, shape: TypeAdapter[T]) -> list[T]:
        with failures_named(self._path):
            self._file.seek(0)
            content = self._file.read()
            whole = content.rfind(b"\n") + 1
            self._file.truncate(whole)  # without what a kill left of a line
        found = []
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                found.append(checked(unsealed(line.decode()), shape))
            except (DamagedError, UnicodeDecodeError) as damage:
                reason = damage if isinstance(damage, DamagedError) else "not UTF-8 text"
                logger.warning("%s, line %d: is damaged: %s; it does not count", self._path, number, reason)
        return found
