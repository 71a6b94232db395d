"""The shapes, and the work that each of them is at least, against numbers written out by hand."""

import pytest

from kernels.bench.cases import Case, Work, least_work
from kernels.bench.timing import Limits

DEPTHWISE = Case("depthwise", 2, 16, 16, side=8, kernel=3, stride=2)
POINTWISE = Case("pointwise", 2, 24, 40, side=4)
RESIDUAL = Case("residual", 2, 24, 40, side=4)
CONV = Case("conv", 2, 16, 24, side=7, kernel=3, stride=2)

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
        # x 2·16·49, y 2·24·16 elements; 16·24·9 weights; 2·16 pixels with as many products each.
        (CONV, "forward", 4, Work(4 * (1568 + 768 + 3456), 2 * 32 * 3456)),
        (CONV, "backward", 4, Work(4 * (1568 + 768 + 1568 + 2 * 3456), 4 * 32 * 3456)),
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


def test_a_shape_is_told_with_its_kernel_and_activation() -> None:
    assert Case("conv", 2, 88, 96, 56, kernel=3, stride=2, activation="relu").shape == "88 → 96, 56 px, 3×3 / 2, relu"
    assert Case("depthwise", 2, 16, 16, side=8, kernel=5).shape == "16, 8 px, 5×5 / 1"
    assert Case("squeeze_excite", 2, 16, 16, side=8, activation="swish").shape == "16, 8 px, swish"
    assert Case("residual", 2, 16, 24, side=8).shape == "16 → 24, 8 px"
