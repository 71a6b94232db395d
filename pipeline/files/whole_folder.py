"""Folders that are whole or not there, whenever the process or the machine dies."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.files.whole_file import failures_named


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to write files into, which gets the name `path` once the block has ended well; else nothing is left.

    It lies beside `path`. What a kill leaves of it is taken away by the next one for the same path.

    Raises:
        OSError: naming `path`, which cannot be written or is there already.
    """
    beside = path.with_name(f".{path.name}.writing")
    with failures_named(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if beside.exists():
            shutil.rmtree(beside)
        beside.mkdir()
    try:
        yield beside
        with failures_named(path):
            for file in (*beside.iterdir(), beside):
                _to_the_disk(file)
            os.rename(beside, path)
            _to_the_disk(path.parent)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _to_the_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
