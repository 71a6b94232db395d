"""Shared by all tests: packed digits."""

from pathlib import Path

import pytest

from data_shards.pack import pack
from data_shards.sources.digits import Digits


def pytest_addoption(parser: pytest.Parser) -> None:
    for option, matrix in (("--engine-table", "engines"), ("--checkpoint-table", "checkpoints")):
        parser.addoption(
            option, type=Path, metavar="FILE", help=f"write what the matrix of {matrix} gives, as Markdown"
        )
    parser.addoption("--fuzz", type=int, default=250, metavar="N", help="inputs by lot, of each kind")
    parser.addoption("--fuzz-seed", type=int, default=0, metavar="N", help="of the lot")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits data set, packed once."""
    out = tmp_path_factory.mktemp("shards") / "digits"
    pack(Digits(), out)
    return out
