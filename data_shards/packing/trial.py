"""Tries out, before any work, whether a file system can do all that packing will need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_shards.errors import ShardUsageError
from data_shards.store.durable_file import write_durably


def try_out(out: Path, folder: Path) -> None:
    """Write files in `folder`, and rename files and folders; in the end `folder` is removed.

    Args:
        out: the place that messages name.

    Raises:
        ShardUsageError: the file system cannot rename a file or a folder.
        OSError: `folder` cannot be written.
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
