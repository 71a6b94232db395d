"""Tries out whether a file system can do what packing will need in the end, before any work is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_shards.durable_file import write_durably
from data_shards.errors import ShardUsageError


def try_out(folder: Path) -> None:
    """Writes files in `folder`, which is made for it and removed, and renames files and folders.

    Raises ShardUsageError, which names what the file system cannot do; OSError where it cannot be written at all.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was killed here
    packed, published = folder / "shards" / "split", folder / "split"
    packed.mkdir(parents=True)
    try:
        for name in ("shard", "shard.part"):
            write_durably(packed / name, name.encode())
        with _needed("rename a file over another"):
            os.replace(packed / "shard.part", packed / "shard")
        with _needed("rename a folder"):
            os.rename(packed, published)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _needed(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        place = Path(error.filename or "").parent
        raise ShardUsageError(f"{place}: the file system cannot {what}: {error.strerror}") from None
