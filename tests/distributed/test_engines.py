"""Every engine, in every situation that supernets put it into, trains what a hand-written process trains.

`pytest tests/distributed/test_engines.py -m "" --engine-table FILE` writes the differences of all cells as the table of
`pipeline/engines/README.md`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet

from tests.distributed import engine_worker, hand_written
from tests.distributed.cells import CORE, ENGINES, FIRST, FOREMOST, SITUATIONS, STEPS, Cell
from tests.distributed.differences import largest
from tests.support.processes import run

# A weight that differs in float32's last bit may round to another bfloat16, which moves one product by 2⁻⁹ of it; and
# with the kinks of the fused operations it may turn one gradient on or off.
TOLERANCES = {"fp32": 1e-6, "fp32 fused": 1e-4, "bf16": 1e-4}

TUNED = [name for name in ENGINES if name not in (*CORE, "single")]
ON_TWO = [
    *(Cell(engine, situation) for engine in CORE for situation in SITUATIONS),
    *(Cell(engine, "blocks unused", recompute=True) for engine in CORE),
    *(Cell(engine, "ε ramp", precision) for engine in CORE for precision in ("fp32 fused", "bf16")),
    *(Cell(engine, "blocks unused") for engine in TUNED),
]
ON_ONE = [
    Cell("single", "ε ramp"),
    Cell("single", "clip"),
    Cell("single", "ε ramp", recompute=True),
    Cell("single", "ε ramp", "fp32 fused", recompute=True),
    Cell("single", "ε ramp", "bf16", recompute=True),
    *(Cell(engine, "clip") for engine in ("fsdp", "zero0", "zero1", "zero3")),
    *(Cell(engine, "frozen teacher") for engine in ("single", *CORE)),
]
ON_THREE = [  # no weight divides by three
    *(Cell(engine, "blocks unused") for engine in ("ddp", "fsdp", "zero2", "zero3")),
    *(Cell(engine, "frozen teacher") for engine in CORE),
]
CELLS = {1: ON_ONE, 2: ON_TWO, 3: ON_THREE}


def cell_of(world: int, cell: Cell) -> ParameterSet:
    """The parameters `world` and `cell`, left to `make test-faults` where `make test` has an engine like it."""
    left = world > 1 and cell.engine in CORE and cell.engine not in FOREMOST
    left = left and (world == 3 or cell not in [Cell(cell.engine, situation) for situation in FIRST])
    return pytest.param(world, cell, marks=[pytest.mark.faults] if left else [], id=f"{world}-{cell}")


def start(world: int, factory: pytest.TempPathFactory, cells: Iterable[Cell], on_gpus: bool = False) -> Path:
    out = factory.mktemp(f"on_{world}")
    run([engine_worker.__file__, str(out), *map(str, cells)], world, on_gpus=on_gpus)
    return out


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The folder of outcomes by number of processes, which all cells of it that were asked for share."""
    asked: dict[int, dict[Cell, None]] = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.path == request.path and "cell" in item.fixturenames:
            world, cell = (item.callspec.params[name] for name in ("world", "cell"))
            asked.setdefault(world, {})[cell] = None
    return {world: start(world, tmp_path_factory, cells) for world, cells in asked.items()}


@pytest.fixture(scope="module")
def rows(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Rows of the table of differences, written at the end where the option asks for it."""
    rows: list[str] = []
    yield rows
    if file := request.config.getoption("--engine-table"):
        head = "| processes | engine | situation | precision | blocks | weights | momentum | statistics |"
        file.write_text("\n".join([head, "|---:|---|---|---|---|---:|---:|---:|", *rows, ""]))


def exact(cell: Cell, world: int, device: str = "cpu") -> dict:
    """What the hand-written process trains, with all activations kept."""
    key = (cell.situation, cell.precision, world, device)
    if key not in _exact:
        with cell.functions():
            _exact[key] = hand_written.train(Cell("single", *key[:2]), [world] * STEPS, device)
    return _exact[key]


_exact: dict[tuple[str, str, int, str], dict] = {}


def differences(actual: dict, expected: dict) -> tuple[float, float, float]:
    """The largest of weights, momentum and statistics."""
    names = {name for name in expected["weights"] if name in expected["momentum"]}
    assert set(actual["weights"]) == set(expected["weights"])
    assert set(actual["momentum"]) == names
    weights, momentum = (largest(actual[part], expected[part], names) for part in ("weights", "momentum"))
    statistics = largest(actual["weights"], expected["weights"], set(expected["weights"]) - names, relative=True)
    return weights, momentum, statistics


@pytest.mark.distributed
@pytest.mark.parametrize(("world", "cell"), [cell_of(world, cell) for world in CELLS for cell in CELLS[world]])
def test_an_engine_trains_what_the_hand_written_process_trains(
    world: int, cell: Cell, outcomes: dict[int, Path], rows: list[str]
) -> None:
    actual, expected = torch.load(outcomes[world] / cell.file), exact(cell, world)
    tolerance = TOLERANCES[cell.precision]
    apart = differences(actual, expected)
    blocks = "recomputed" if cell.recompute else "kept"
    told = " | ".join(f"{each:.1e}" for each in apart)
    rows.append(f"| {world} | {cell.engine} | {cell.situation} | {cell.precision} | {blocks} | {told} |")
    print(rows[-1])
    assert max(apart) < tolerance, told
    assert actual["norms"] == pytest.approx(expected["norms"], rel=100 * tolerance)
    for name, tensor in actual["evaluated"].items():
        assert torch.equal(tensor, actual["weights"][name]), name


@pytest.mark.gpu
@pytest.mark.parametrize("world", CELLS)
def test_the_matrix_holds_with_nccl_on_gpus(world: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    if torch.cuda.device_count() < world:
        pytest.skip(f"needs {world} GPUs")
    out = start(world, tmp_path_factory, CELLS[world], on_gpus=True)
    apart = {cell: max(differences(torch.load(out / cell.file), exact(cell, world, "cuda"))) for cell in CELLS[world]}
    for cell, difference in apart.items():
        print(f"{world} GPUs, {cell}: {difference:.1e}")
    assert not {str(cell): apart[cell] for cell in apart if not apart[cell] < TOLERANCES[cell.precision]}


@pytest.mark.distributed
@pytest.mark.parametrize(("world", "cell"), [cell_of(2, Cell(engine, "ε ramp")) for engine in ("fsdp", "zero3")])
def test_weights_are_sharded_between_steps(world: int, cell: Cell, outcomes: dict[int, Path]) -> None:
    """Else the cells above would tell nothing about sharding."""
    all_of_them = sum(parameter.numel() for parameter in cell.supernet().parameters())
    held = torch.load(outcomes[world] / cell.file)["held"]
    assert held <= 0.52 * all_of_them


# What reduces in a step of one subnet, and how many more calls a step of three has. All but the first of ZeRO's and
# DDP's, and FSDP2's all-reduce, are of a few numbers: norm, overflow, which parameters were used. FSDP2 reduces each of
# its six blocks and the rest by itself. ZeRO 2 and 3 keep nothing but shards between sub-steps, so they reduce in each.
REDUCTIONS = {
    "ddp": ({"allreduce_": 2}, 0),
    "fsdp": ({"_reduce_scatter_base_": 7, "allreduce_": 1}, 0),
    "zero0": ({"allreduce_": 1}, 0),
    "zero1": ({"allreduce_": 3}, 0),
    "zero2": ({"allreduce_": 3}, 2),
    "zero3": ({"_reduce_scatter_base_": 1, "allreduce_": 2}, 2),
}


@pytest.mark.distributed
@pytest.mark.parametrize(("world", "cell"), [cell_of(2, Cell(engine, "ε ramp")) for engine in CORE])
def test_gradients_are_reduced_once_in_a_step_and_not_once_for_every_subnet(
    world: int, cell: Cell, outcomes: dict[int, Path]
) -> None:
    one, three = torch.load(outcomes[world] / cell.file)["collectives"]
    print(f"{cell.engine}: a step of one subnet: {one}; of three: {three}")
    assert (one.pop("subnets"), three.pop("subnets")) == (1, 3)
    of_one, more = REDUCTIONS[cell.engine]
    assert {name: calls for name, calls in one.items() if "reduce" in name} == of_one
    assert sum(three[name] - calls for name, calls in of_one.items()) == more
