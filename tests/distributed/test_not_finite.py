"""An update that is not finite touches neither weights nor momentum, on any engine: as if its step had not been."""

import math
from pathlib import Path

import pytest
import torch

from tests.distributed.cells import CORE
from tests.support.processes import run

pytestmark = pytest.mark.distributed

WORKER = Path(__file__).with_name("not_finite_worker.py")
CELLS = {1: ("single", "fsdp", "zero1"), 2: CORE}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The folder of outcomes by number of processes."""
    folders = {world: tmp_path_factory.mktemp(f"world{world}") for world in CELLS}
    for world, out in folders.items():
        run([str(WORKER), str(out), *CELLS[world]], world)
    return folders


def assert_same(actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Equal to the last bit."""
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(actual[name], tensor), name


CASES = [(world, engine) for world in CELLS for engine in CELLS[world]]


@pytest.mark.parametrize(("world", "engine"), CASES)
def test_it_leaves_weights_and_momentum_as_they_were(world: int, engine: str, outcomes: dict[int, Path]) -> None:
    trained = torch.load(outcomes[world] / engine)
    first, later = trained["first"], trained["later"]
    assert_same(first["weights"][0], trained["at the start"])
    assert all(not tensor.any() for tensor in first["momentum"][0].values())
    for part in ("weights", "momentum"):
        assert_same(later[part][1], later[part][0])


@pytest.mark.parametrize(("world", "engine"), CASES)
def test_the_steps_after_it_are_as_if_it_had_not_been(world: int, engine: str, outcomes: dict[int, Path]) -> None:
    trained = torch.load(outcomes[world] / engine)
    for with_it, without in zip((trained["first"], trained["later"]), trained["spared"], strict=True):
        for part in ("weights", "momentum"):
            assert_same(with_it[part][-1], without[part][-1])
            assert any(tensor.any() for tensor in without["momentum"][-1].values())


@pytest.mark.parametrize(("world", "engine"), CASES)
def test_its_norm_tells_of_it(world: int, engine: str, outcomes: dict[int, Path]) -> None:
    trained = torch.load(outcomes[world] / engine)
    assert [math.isfinite(norm) for norm in trained["first"]["norms"]] == [False, True]
    assert [math.isfinite(norm) for norm in trained["later"]["norms"]] == [True, False, True]
