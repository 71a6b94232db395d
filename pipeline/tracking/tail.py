"""Reading a file that is still being appended to, line by line, from where the last reading ended."""

import os
from collections.abc import Iterator
from pathlib import Path

from data_shards.store.regular_file import open_regular


def complete_lines(path: Path, offset: int) -> Iterator[tuple[str, int]]:
    """The whole lines of `path` from byte `offset` on, each with the offset just after it.

    A last line without its end is left for the next reading. A file that is missing has no lines; one that has become
    shorter than `offset` was replaced, and is read from its beginning. Raises OSError, naming it, where it cannot be
    read, or is no regular file.
    """
    if not path.exists():
        return
    with open(open_regular(path), "rb") as file:
        if os.fstat(file.fileno()).st_size < offset:
            offset = 0
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            yield line.decode("utf-8", errors="replace").strip(), offset
