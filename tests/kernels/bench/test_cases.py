"""The shapes, and the work that each of them is at least, against numbers written out by hand."""

import pytest

from kernels.bench.cases import Case, Work, cases, least_work
from kernels.bench.timing import Limits

DEPTHWISE = Case("depthwise", 2, 16, 16, side=8, kernel=3, stride=2)
POINTWISE = Case("pointwise", 2, 24, 40, side=4)
RESIDUAL = Case("residual", 2, 24, 40, side=4)

X, Y = 2 * 16 * 8 * 8 * 4, 2 * 16 * 4 * 4 * 4  # bytes of the depthwise convolution's input and output


@pytest.mark.parametrize(
    ("case", "direction", "element_bytes", "work"),
    [
        (DEPTHWISE, "forward", 4, Work(X + Y + 16 * 9 * 4, 2 * 2 * 16 * 16 * 9)),
        (DEPTHWISE, "backward", 4, Work(X + 2 * Y + X + 2 * 16 * 9 * 4, 4 * 2 * 16 * 16 * 9)),
        # x 2·24·16, y 2·40·16 elements; 24·40 weights; 2·16 pixels with 24·40 products each.
        (POINTWISE, "forward", 4, Work(4 * (768 + 1280 + 960), 2 * 32 * 960)),
        (POINTWISE, "forward", 2, Work(2 * (768 + 1280) + 4 * 960, 2 * 32 * 960)),
        (POINTWISE, "backward", 4, Work(4 * (768 + 2 * 1280 + 768 + 2 * 960), 4 * 32 * 960)),
        (RESIDUAL, "forward", 4, Work(4 * (768 + 2 * 1280 + 960), 2 * 32 * 960)),
        # 80 channels, 24 of them inside: 2·80·24 weights.
        (Case("squeeze_excite", 2, 80, 80, side=3), "forward", 4, Work(4 * (2 * 1440 + 3840), 2 * 2 * 3840)),
        (Case("squeeze_excite", 2, 80, 80, side=3), "backward", 4, Work(4 * (3 * 1440 + 2 * 3840), 4 * 2 * 3840)),
        (Case("linear", 3, 10, 20), "forward", 4, Work(4 * (30 + 60 + 200), 2 * 3 * 200)),
        (Case("linear", 3, 10, 20), "backward", 4, Work(4 * (30 + 60 + 30 + 400), 4 * 3 * 200)),
        (Case("cross_entropy", 3, 10, 10), "forward", 2, Work(4 * 60, 0)),
        (Case("cross_entropy", 3, 10, 10), "backward", 2, Work(4 * 90, 0)),
    ],
)
def test_bytes_and_operations_are_those_written_out_by_hand(case, direction, element_bytes, work) -> None:
    assert least_work(case, direction, element_bytes) == work


def test_the_floor_is_the_longer_of_moving_and_computing() -> None:
    limits = Limits(copy_bytes_per_second=100.0, matrix_flops_per_second=1000.0)
    assert limits.floor_seconds(200, 500) == 2.0
    assert limits.floor_seconds(20, 500) == 0.5


@pytest.mark.parametrize("resolution", [32, 224])
def test_every_operation_is_among_the_cases_and_depthwise_in_every_kernel_and_stride(resolution: int) -> None:
    found = list(cases(resolution, 1))
    assert {case.operation for case in found} == {
        "pointwise",
        "depthwise",
        "residual",
        "squeeze_excite",
        "linear",
        "cross_entropy",
    }
    depthwise = {(case.kernel, case.stride) for case in found if case.operation == "depthwise"}
    assert depthwise == {(kernel, stride) for kernel in (3, 5, 7) for stride in (1, 2)}
    assert len({(case.operation, case.shape) for case in found}) == len(found)


def test_the_four_largest_depthwise_shapes_at_224_px_are_among_them() -> None:
    found = {(c.inputs, c.side, c.kernel, c.stride) for c in cases(224, 1) if c.operation == "depthwise"}
    assert {(96, 112, 7, 2), (144, 56, 7, 1), (144, 56, 7, 2), (16, 112, 3, 1)} <= found
