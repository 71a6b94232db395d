"""Opens regular files only: a FIFO or a device in the place of one would be waited for for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def open_regular(path: Path | str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of the regular file at `path` (links are followed), by default to read; the caller closes it.

    Raises OSError naming `path`: as `os.open` does, or "is not a regular file".
    """
    # Without O_NONBLOCK, opening a FIFO waits for somebody at its other end; of a regular file it changes nothing.
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    except ValueError:  # a null character, or what no file system has a name for
        raise OSError(errno.EINVAL, "is not the name of a file", str(path)) from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "is not a regular file", str(path))


def read_regular(path: Path | str, at_most: int | None = None) -> bytes:
    """The bytes of the regular file at `path`. Raises as `open_regular` does, and for more than `at_most` bytes."""
    with open(open_regular(path), "rb") as file:
        content = file.read(-1 if at_most is None else at_most + 1)
    if at_most is not None and len(content) > at_most:
        raise OSError(errno.EFBIG, f"has more than {at_most} bytes", str(path))
    return content
