"""Shared by all tests: packed digits."""

from pathlib import Path

import pytest

from data_shards.pack import pack
from data_shards.sources.digits import Digits


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits data set, packed once."""
    out = tmp_path_factory.mktemp("shards") / "digits"
    pack(Digits(), out)
    return out
