"""Files that are on the disk when they are said to be."""

from __future__ import annotations

import os
from pathlib import Path


class WriteError(OSError):
    """What the disk refused to take: `filename` is the file, `strerror` tells what of it, and why."""


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file through to the disk. Raises WriteError where the disk refuses."""
    try:
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise WriteError(error.errno, f"cannot be written: {error.strerror}", str(path)) from None
