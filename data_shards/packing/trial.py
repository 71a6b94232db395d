"""Tries out whether a file system can do what packing will need in the end, before any work is done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_shards.errors import ShardUsageError
from data_shards.store.durable_file import write_durably


def try_out(out: Path, folder: Path) -> None:
    """Writes files in `folder`, which is made for it and removed, and renames files and folders.

    Raises ShardUsageError, which names `out` and what its file system cannot do; OSError where it cannot be written.
    """
    shutil.rmtree(folder, ignore_errors=True)  # of an attempt that was killed here
    packed, published = folder / "shards" / "split", folder / "split"
    packed.mkdir(parents=True)
    try:
        for name in ("shard", "shard.part"):
            write_durably(packed / name, name.encode())
        with _needed(out, "rename a file over another"):
            os.replace(packed / "shard.part", packed / "shard")
        with _needed(out, "rename a folder"):
            os.rename(packed, published)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _needed(out: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ShardUsageError(f"{out}: its file system cannot {what}: {error.strerror}; pack elsewhere") from None
