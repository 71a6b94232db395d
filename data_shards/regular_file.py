"""Opens files to read, and regular files only: a FIFO or a device in the place of one would be waited for for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def open_regular(path: Path | str) -> int:
    """A descriptor of the regular file at `path` (links are followed), to read from; the caller closes it.

    Raises OSError naming `path`: as `os.open` does, or "is not a regular file".
    """
    # Without O_NONBLOCK, opening a FIFO waits for somebody to write; of a regular file it changes nothing.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError:  # a null character, or what no file system has a name for
        raise OSError(errno.EINVAL, "is not the name of a file", str(path)) from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "is not a regular file", str(path))


def read_regular(path: Path | str) -> bytes:
    """The bytes of the regular file at `path`. Raises as `open_regular` does."""
    with open(open_regular(path), "rb") as file:
        return file.read()
