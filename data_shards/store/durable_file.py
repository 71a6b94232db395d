"""Writes files through to the disk."""

from __future__ import annotations

import os
from pathlib import Path


class WriteError(OSError):
    """The disk did not take a file: `filename` names it, `strerror` tells what part of it, and why."""


def write_durably(path: Path, content: bytes) -> None:
    """Write a file; it is on the disk when this returns.

    Raises:
        WriteError: the file cannot be written.
    """
    try:
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise WriteError(error.errno, f"cannot be written: {error.strerror}", str(path)) from None
