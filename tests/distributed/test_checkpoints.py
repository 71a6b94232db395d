"""A checkpoint of any engine on any number of processes is gone on with by any other, as if nothing had happened.

`pytest tests/distributed/test_checkpoints.py --checkpoint-table FILE` goes through every engine on every number of
processes, which takes minutes, and writes the table of `pipeline/engines/checkpoints.md`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.distributed import checkpoint_worker, hand_written
from tests.distributed.cells import CORE, STEPS, Cell
from tests.distributed.differences import largest
from tests.support.processes import run

EVERY = {1: ("single", *CORE), 2: CORE, 3: CORE}
MOST = {1: ("single", "zero3"), 2: ("ddp", "fsdp", "zero0", "zero1", "zero3"), 3: ("fsdp", "zero3")}


def engines(config: pytest.Config) -> dict[int, tuple[str, ...]]:
    """Those that save and go on, by the number of processes."""
    return EVERY if config.getoption("--checkpoint-table") else MOST


def places(config: pytest.Config) -> list[str]:
    return [f"{world}-{engine}" for world, each in engines(config).items() for engine in each]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "place" in metafunc.fixturenames:
        metafunc.parametrize("place", places(metafunc.config))


@pytest.fixture(scope="module")
def resumed(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of outcomes by place, after all have saved and then all gone on from what all had saved."""
    out = tmp_path_factory.mktemp("checkpoints")
    for mode in ("save", "resume"):
        for world, each in engines(pytestconfig).items():
            run([checkpoint_worker.__file__, str(out), mode, *each], world)
    return out / "resumed"


@pytest.fixture(scope="module")
def whole_runs() -> dict[tuple[int, int], dict]:
    """What a hand-written process trains that never stops, by the number of processes before and after."""
    cell, saved = Cell("single", "frozen teacher"), checkpoint_worker.SAVED
    with cell.functions():
        return {
            (before, after): hand_written.train(cell, [before] * saved + [after] * (STEPS - saved))
            for before in EVERY
            for after in EVERY
        }


@pytest.fixture(scope="module")
def columns(pytestconfig: pytest.Config) -> Iterator[dict[str, dict[str, float]]]:
    """Largest differences, by the place that went on and the one that had saved; a table where the option asks."""
    columns: dict[str, dict[str, float]] = {}
    yield columns
    if file := pytestconfig.getoption("--checkpoint-table"):
        rows = [[f"**{before}**", *(f"{column[before]:.1e}" for column in columns.values())] for before in columns]
        head = [["saved on \\ resumed on", *columns], ["---", *("---:" for _ in columns)]]
        file.write_text("".join(f"| {' | '.join(cells)} |\n" for cells in (*head, *rows)))


@pytest.mark.distributed
def test_a_run_goes_on_from_every_checkpoint_as_the_run_that_was_never_stopped(
    place: str,
    resumed: Path,
    whole_runs: dict[tuple[int, int], dict],
    columns: dict[str, dict[str, float]],
    pytestconfig: pytest.Config,
) -> None:
    """Batch norm sees as many parts of the batch as there are processes: that much a change of their number changes."""
    outcomes = torch.load(resumed / f"{place}.pt")
    assert set(outcomes) == set(places(pytestconfig))
    column = columns[place] = {}
    for before, actual in outcomes.items():
        expected = whole_runs[int(before[0]), int(place[0])]
        names = set(expected["momentum"])
        differences = [
            largest(actual["weights"], expected["weights"], names),
            largest(actual["momentum"], expected["momentum"], names),
            largest(actual["weights"], expected["weights"], set(expected["weights"]) - names, relative=True),
        ]
        column[before] = max(differences)
        assert column[before] < 1e-6, f"{before} → {place}: weights, momentum and statistics are off by {differences}"
