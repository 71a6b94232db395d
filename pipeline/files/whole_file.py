"""Files that are whole or not there, whenever the process or the machine dies; and failures that name their file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from data_shards.store.regular_file import open_regular


class DamagedError(ValueError):
    """A file that does not hold what was written. The message is the reason, short and printable, without the path."""


class Digest(NamedTuple):
    """What tells the content of a file from any other."""

    bytes: int
    sha256: str

    @staticmethod
    def of(content: bytes) -> Digest:
        return Digest(len(content), hashlib.sha256(content).hexdigest())


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
            beside.unlink(missing_ok=True)  # what a kill left, or a FIFO, which would be waited for
            with open(beside, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            raise


def read_whole(path: Path, written: Digest) -> bytes:
    """The content of a file that was written with this digest.

    Raises:
        OSError: naming `path`, which cannot be read or is no regular file.
        DamagedError: it holds something else.
    """
    with open(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size != written.bytes:
            raise DamagedError(f"{size} bytes of {written.bytes}")
        content = file.read(size)
    if Digest.of(content) != written:
        raise DamagedError("its SHA-256 is not the one written with it")
    return content
