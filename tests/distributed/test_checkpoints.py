"""A checkpoint of any engine on any number of processes is gone on with by any other, as if nothing had happened."""

from pathlib import Path

import pytest
import torch

from tests.distributed import checkpoint_worker, hand_written
from tests.distributed.cells import CORE, STEPS, Cell
from tests.distributed.differences import largest
from tests.distributed.processes import run

ENGINES = {1: ("single", "fsdp", "zero3"), 2: CORE, 3: ("ddp", "fsdp", "zero1", "zero3")}
PLACES = [f"{world}-{engine}" for world, engines in ENGINES.items() for engine in engines]


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of outcomes by place, after all have saved and then all gone on from what all had saved."""
    out = tmp_path_factory.mktemp("checkpoints")
    for mode in ("save", "resume"):
        for world, engines in ENGINES.items():
            run([checkpoint_worker.__file__, str(out), mode, *engines], world)
    return out / "resumed"


@pytest.fixture(scope="module")
def whole_runs() -> dict[tuple[int, int], dict]:
    """What a hand-written process trains that never stops, by the number of processes before and after."""
    cell, saved = Cell("single", "ε ramp"), checkpoint_worker.SAVED
    with cell.functions():
        return {
            (before, after): hand_written.train(cell, [before] * saved + [after] * (STEPS - saved))
            for before in ENGINES
            for after in ENGINES
        }


@pytest.mark.distributed
@pytest.mark.parametrize("place", PLACES)
def test_a_run_goes_on_from_every_checkpoint_as_the_run_that_was_never_stopped(
    place: str, resumed: Path, whole_runs: dict[tuple[int, int], dict]
) -> None:
    """Batch norm sees as many parts of the batch as there are processes: that much a change of their number changes."""
    outcomes = torch.load(resumed / f"{place}.pt")
    assert set(outcomes) == set(PLACES)
    for before, actual in outcomes.items():
        expected = whole_runs[int(before[0]), int(place[0])]
        names = set(expected["momentum"])
        differences = [
            largest(actual["weights"], expected["weights"], names),
            largest(actual["momentum"], expected["momentum"], names),
            largest(actual["weights"], expected["weights"], set(expected["weights"]) - names, relative=True),
        ]
        print(f"{before} → {place}: weights {differences[0]:.1e}, momentum {differences[1]:.1e}")
        assert max(differences) < 1e-6, f"{before} → {place}: {differences}"
