"""Shared by all tests: packed digits, and which of pytest's processes runs what."""

import os
from pathlib import Path

import pytest

from data_shards.packing.pack import pack
from data_shards.sources.digits import Digits
from tests.support.scheduling import ByWhatIsShared, longest_first


def pytest_addoption(parser: pytest.Parser) -> None:
    for option, matrix in (("--engine-table", "engines"), ("--checkpoint-table", "checkpoints")):
        parser.addoption(
            option, type=Path, metavar="FILE", help=f"write what the matrix of {matrix} gives, as Markdown"
        )
    parser.addoption("--fuzz", type=int, default=250, metavar="N", help="inputs by lot, of each kind")
    parser.addoption("--fuzz-seed", type=int, default=0, metavar="N", help="of the lot")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: some tests wait, for SLURM, for silence, or for a server that is dead."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByWhatIsShared | None:
    return ByWhatIsShared(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    longest_first(items, Path(__file__).parent)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits data set, packed once."""
    out = tmp_path_factory.mktemp("shards") / "digits"
    pack(Digits(), out)
    return out
