"""Reads YAML files of ours: recipes and what run folders hold of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_shards.strict_yaml import NotYaml
from data_shards.strict_yaml import read_yaml as read_strictly
from pipeline.errors import UsageError


def read_yaml(path: Path) -> Any:
    """The value in the YAML file `path`, of plain Python types.

    Raises:
        UsageError: one line, led by `path`, for what cannot be read, is no YAML, has a key twice, or is too large or
            too deep.
    """
    try:
        return read_strictly(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except NotYaml as error:
        raise UsageError(f"{path}: {error}") from None
