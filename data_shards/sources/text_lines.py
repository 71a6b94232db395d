"""Reads small text files that lie beside a data set."""

from __future__ import annotations

from pathlib import Path

from data_shards.errors import ShardUsageError
from data_shards.store.regular_file import read_regular


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without empty ones at its end.

    Raises:
        ShardUsageError: the file cannot be read, or is not UTF-8.
    """
    try:
        return read_regular(path).decode("utf-8").rstrip().splitlines()
    except OSError as error:
        raise ShardUsageError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ShardUsageError(f"{path} is not a text file") from None
