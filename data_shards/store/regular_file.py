"""Opens regular files, and nothing else: to open a FIFO or a device might take for ever."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def open_regular(path: Path | str, flags: int = os.O_RDONLY) -> int:
    """Open the regular file at `path`; links are followed.

    Args:
        flags: as `os.open` takes them; by default the file is opened for reading.

    Returns:
        The descriptor, which the caller closes.

    Raises:
        OSError: as `os.open` does, or "is not a regular file"; it names `path`.
    """
    # Without O_NONBLOCK, to open a FIFO is to wait for somebody at its other end. It changes nothing for regular files.
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY, 0o666)
    except ValueError:  # a null character, or one that file systems cannot encode
        raise OSError(errno.EINVAL, "is not the name of a file", str(path)) from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "is not a regular file", str(path))


def read_regular(path: Path | str, at_most: int | None = None) -> bytes:
    """The bytes of the regular file at `path`.

    Raises:
        OSError: as `open_regular` does; also where the file has more than `at_most` bytes.
    """
    with open(open_regular(path), "rb") as file:
        content = file.read(-1 if at_most is None else at_most + 1)
    if at_most is not None and len(content) > at_most:
        raise OSError(errno.EFBIG, f"has more than {at_most} bytes", str(path))
    return content
