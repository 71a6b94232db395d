"""Files that are whole or not there, whenever the process or the machine dies; and failures that name their file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def failures_named(path: Path) -> Iterator[None]:
    """Have an OSError inside name `path`: one of writing or closing, as for a full disk, names no file by itself."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def write_whole(path: Path, content: bytes) -> None:
    """Write `content` beside `path` and rename, so that the file under that name is always whole.

    Raises:
        OSError: naming `path`; nothing of the attempt is left then.
    """
    beside = path.with_name(f".{path.name}.writing")
    with failures_named(path):
        try:
            with open(beside, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise
