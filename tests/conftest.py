"""Shared by all tests: packed digits."""

from pathlib import Path

import pytest

from data_shards.pack import pack
from data_shards.sources.digits import Digits


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engine-table", type=Path, metavar="FILE", help="write what the matrix of engines gives, as Markdown"
    )


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits data set, packed once."""
    out = tmp_path_factory.mktemp("shards") / "digits"
    pack(Digits(), out)
    return out
