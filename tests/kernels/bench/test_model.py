"""The model of time against sums by hand."""

import math
from typing import Any

import pytest

from kernels.bench.compiled.instructions import Instruction
from kernels.bench.compiled.model import DEVICES, Device, modelled, trips_of
from kernels.recorded import Launch, Request

# Of a machine whose figures are easy: ten multiprocessors at 1 GHz.
DEVICE = Device("easy", "sm_90", 10, 1e9, 1e12, 1e15)


def launch(kernel: str, grid: tuple[int, ...], warps: int = 4, **values: Any) -> Launch:
    request = Request(None, "", {}, {}, {}, {"num_warps": warps})
    return Launch(kernel, 0, values, {"x": (1000, 8), "y": (1000, 16)}, {"x": 2, "y": 4}, grid, request)


def test_memory_bounds_what_does_little() -> None:
    found = modelled(DEVICE, launch("normalise._apply", (10,)), [Instruction("FADD", 0)])
    assert found.moved_bytes == 1000 * 8 * 2 + 1000 * 16 * 4
    assert found.bound == "memory"
    assert found.seconds == found.memory == pytest.approx(80_000 / 1e12)
    assert found.issued == 10 * 4


@pytest.mark.parametrize(
    ("name", "unit", "cycles"),
    [
        ("FFMA", "issue", 1 / 4),
        ("LOP3.LUT", "logic", 1 / 2),
        ("IMAD.WIDE", "integer products", 1 / 2),
        ("DFMA", "float64", 1 / 2),
        ("MUFU.EX2", "special functions", 2),
        ("SHFL.BFLY", "loads and stores", 1),
        ("LDG.E.128", "loads and stores", 4),
        ("STS.64", "loads and stores", 2),
        ("LDC", "issue", 1 / 4),
    ],
)
def test_the_busiest_unit_of_the_fullest_multiprocessor_bounds_what_does_much(
    name: str, unit: str, cycles: float
) -> None:
    code = [Instruction(name, 0)] * 1_000_000 + [Instruction("FADD", 0)]
    found = modelled(DEVICE, launch("normalise._apply", (21,)), code)  # three programs on one of ten
    issue = 1 / 4 if unit == "issue" else 0
    assert found.bound == unit
    assert found.seconds == pytest.approx(3 * 4 * (cycles * 1_000_000 + issue) / 1e9)


def test_loops_count_as_often_as_they_are_gone_through_and_tiles_are_whole() -> None:
    sizes = {"rows": 1000, "input_vectors": 25, "VECTOR": 8, "BLOCK_M": 64, "BLOCK_N": 32, "BLOCK_K": 64}
    asked = launch("pointwise._forward", (3, 4), **sizes)
    assert trips_of(asked) == (16 / 4, 4)  # 16 tiles of 64 rows over 4 workers; 200 channels in 4 tiles
    code = [Instruction("FADD", 0), Instruction("FADD", 1), Instruction("HGMMA.64x32x16.F32.BF16", 2)]
    found = modelled(DEVICE, asked, code)
    assert found.issued == 3 * 4 * 4 * (1 + 4 + 16)
    assert found.matrix == pytest.approx(2 * (16 * 64) * (3 * 32) * (4 * 64) / 1e15)


@pytest.mark.parametrize(
    ("kernel", "grid", "values", "trips"),
    [
        ("pointwise._input_gradient", (1, 2), {"rows": 640, "output_vectors": 3}, (5, 1)),
        ("pointwise._weight_gradient", (1, 1, 5), {"rows": 640}, (2,)),
        # 30 rows in three strips of 10; 7 across; of 4 images, 84 strips in blocks of 8 over 11 workers
        ("depthwise._forward", (1, 11), {"images": 4, "height_out": 30, "width_out": 14}, (1, 10)),
        # 29 rows in strips of 10, which is even
        ("depthwise._backward", (1, 11), {"images": 4, "height": 29, "width": 14, "STRIDE": 2}, (1, 5)),
        ("normalise._apply_backward", (1, 6), {"images": 3, "positions": 100}, (1,)),
        ("normalise._sum_positions", (1, 6), {"positions": 100}, (2,)),
        ("normalise._apply", (6,), {}, ()),
    ],
)
def test_each_kernel_goes_through_its_loops(
    kernel: str, grid: tuple[int, ...], values: dict[str, int], trips: tuple[float, ...]
) -> None:
    blocks = {"VECTOR": 8, "BLOCK_M": 64, "BLOCK_K": 64, "BLOCK_P": 8, "ROWS": 14, "COLUMNS": 2}
    assert trips_of(launch(kernel, grid, **blocks, **values)) == trips


def test_a_loop_that_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(LookupError, match="1 loops, one in another; the model knows 0"):
        modelled(DEVICE, launch("normalise._apply", (1,)), [Instruction("FADD", 1)])


def test_the_devices_rates_are_those_of_their_data_sheets() -> None:
    for device in DEVICES:
        lanes = device.multiprocessors * 128
        assert 2 * lanes * device.clock_hz == pytest.approx(67e12, rel=0.01)
    h100, h200 = DEVICES
    assert h100._replace(name="H200", memory_bytes_per_second=4.8e12) == h200
    assert math.isclose(h100.memory_bytes_per_second, 3.35e12)
