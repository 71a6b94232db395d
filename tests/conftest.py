"""Shared by all tests: packed digits, and which of pytest's processes runs what."""

import os
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


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: some tests wait, for SLURM, for silence, or for a server that is dead."""
    return (os.cpu_count() or 1) + 1


# Those that take longest are begun first, so that the last ones to end are short; some wait, while others compute.
ORDER = ("slurm", "distributed", "faults", "pipeline/tracking", "pipeline", "kernels", "data_shards")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests, and tell `--dist loadgroup` which ones share what is made once.

    All that need a SLURM go to one process, and so do those of one file; but those that start several processes
    each, and share nothing within their file, go wherever there is time.
    """
    here = Path(__file__).parent

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(here).as_posix()
        return next((place for place, folder in enumerate(ORDER) if path.startswith(f"{folder}/")), len(ORDER))

    items.sort(key=place)
    for item in items:
        if item.get_closest_marker("slurm"):
            item.add_marker(pytest.mark.xdist_group("slurm"))
        elif not item.get_closest_marker("distributed") or _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(here).as_posix()))


def _shares(item: pytest.Item) -> bool:
    """Whether a test uses what is made once for its file."""
    definitions = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
    return any(each[-1].scope in ("module", "class", "package") for each in definitions.values())


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits data set, packed once."""
    out = tmp_path_factory.mktemp("shards") / "digits"
    pack(Digits(), out)
    return out
