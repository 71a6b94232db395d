"""What is measured is checked first: a contender that is wrong anywhere gives no figure."""

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from kernels import reference
from kernels.bench.cases import UNITS, Case
from kernels.bench.contenders import Eager, OfaStyle, OperationContender, Ours
from kernels.bench.correctness import complaint, errors
from kernels.bench.measure import against, measure
from kernels.bench.operands import Operands
from kernels.bench.timing import Limits, measure_limits
from kernels.operations import Operations

CPU, FLOAT = torch.device("cpu"), torch.float32
LIMITS = Limits(1e9, 1e9)
SMALL = [
    Case("pointwise", 2, 16, 24, side=5, activation="h_swish"),
    Case("pointwise", 2, 24, 16, side=5),
    Case("depthwise", 2, 16, 16, side=6, kernel=5, stride=1, activation="relu6"),
    Case("depthwise", 2, 16, 16, side=7, kernel=3, stride=2, activation="swish"),
    Case("conv", 2, 16, 24, side=7, kernel=3, stride=2, activation="relu"),
    Case("conv", 2, 16, 24, side=5),
    Case("residual", 2, 16, 24, side=5),
    Case("residual", 2, 16, 24, side=5, activation="relu"),
    Case("squeeze_excite", 2, 16, 16, side=5, activation="h_swish"),
    Case("squeeze_excite", 2, 16, 16, side=5, activation="swish"),
    Case("linear", 2, 16, 24),
    Case("cross_entropy", 2, 16, 16),
]


def plain_ours() -> Ours:
    return Ours(CPU, FLOAT, cast(Operations, reference))


class TooLarge(Eager):
    """An output that is a thousandth too large."""

    name = "too large"

    def forward(self, case: Case, operands: Operands) -> tuple[Tensor, ...]:
        return (super().forward(case, operands)[0] * 1.001,)


class Forgetful(Eager):
    """The right output, but one operand's gradient is never computed."""

    name = "forgetful"

    def forward(self, case: Case, operands: Operands) -> tuple[Tensor, ...]:
        return super().forward(case, {**operands, "weight": operands["weight"].detach()})


class NotANumber(Eager):
    name = "not a number"

    def forward(self, case: Case, operands: Operands) -> tuple[Tensor, ...]:
        return (super().forward(case, operands)[0] * float("nan"),)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: f"{case.operation} {case.shape}")
@pytest.mark.parametrize(
    "make", [lambda: Ours(CPU, FLOAT), plain_ours, lambda: Eager(CPU, FLOAT), lambda: OfaStyle(CPU)]
)
def test_every_contender_computes_the_unit_and_all_gradients(make: Any, case: Case) -> None:
    contender = make()
    found = errors(contender, case, CPU, FLOAT)
    assert complaint(contender, found) is None, found
    assert max(found.values()) > 0, "float32 is compared with float64, not with itself"
    assert len(found) >= 2


@pytest.mark.parametrize(
    ("wrong", "what"),
    [(TooLarge, "too large: "), (Forgetful, "forgetful: gradient of weight is off by inf"), (NotANumber, "nan")],
)
def test_a_wrong_contender_is_named_and_gives_no_figure(wrong: type[Eager], what: str) -> None:
    contenders: list[OperationContender] = [plain_ours(), wrong(CPU, FLOAT)]
    ((forward, backward),) = measure(SMALL[:1], contenders, CPU, FLOAT, repeats=1)
    for row, direction in ((forward, "forward"), (backward, "backward")):
        assert row["status"].startswith("FAILED: ")
        assert what in row["status"]
        assert row.keys() == {"operation", "shape", "batch_size", "direction", "status"}
        assert row["direction"] == direction
        assert against(LIMITS, row, "ours") == row


def test_a_row_has_times_ratios_and_the_floor() -> None:
    contenders: list[OperationContender] = [plain_ours(), Eager(CPU, FLOAT), OfaStyle(CPU)]
    ((row, _),) = measure(SMALL[:1], contenders, CPU, FLOAT, repeats=1)
    assert row["status"] == "ok"
    assert row["strong_eager_ratio"] == row["strong_eager_seconds"] / row["ours_seconds"]
    assert row["ofa_style_ratio"] == row["ofa_style_seconds"] / row["ours_seconds"]
    assert row["bytes"] == 4 * (2 * 25 * (16 + 24) + 16 * 24)
    assert row["flops"] == 2 * 2 * 25 * 16 * 24
    row = against(LIMITS, row, "ours")
    assert row["floor_seconds"] == max(row["bytes"], row["flops"]) / 1e9
    assert row["of_floor_pct"] == pytest.approx(100 * row["floor_seconds"] / row["ours_seconds"])
    assert row["copy_bandwidth_pct"] == pytest.approx(100 * row["bytes"] / 1e9 / row["ours_seconds"])
    assert 0 < row["largest_error"] < 1e-5


def test_the_limits_are_those_of_a_machine() -> None:
    limits = measure_limits(CPU, FLOAT, repeats=1)
    assert limits.or_better(Limits(1.0, 1e30)) == (limits.copy_bytes_per_second, 1e30)
    assert limits.copy_bytes_per_second > 1e8
    assert limits.matrix_flops_per_second > 1e8


def test_every_operation_says_what_its_unit_is() -> None:
    assert {case.operation for case in SMALL} == UNITS.keys()
