"""The passes over activations that no convolution takes along, against float64 autograd; and all passes twice."""

import math

import pytest
import torch
from torch import Tensor

from kernels import reference
from kernels.primitives import OutputGradient, Primitives, Prologue
from tests.kernels.contract.operands import (
    ACTIVATIONS,
    activated,
    assert_close,
    exact_leaves,
    images,
    odd_sixteenths,
    prologue_of,
    random,
)


def check_apply(primitives: Primitives, x: Tensor, prologue: Prologue, gated: bool, last: str = "identity") -> None:
    """With a gate and a pooled gradient, or with neither and a shortcut; `last` is the activation of their sum."""
    (batch, channels, height, width), dtype, device = x.shape, x.dtype, x.device.type
    exact = exact_leaves(x, prologue.scale, prologue.shift)
    value = activated(exact[0], exact[1], exact[2], prologue.activation)
    output = images(*x.shape, seed=3, device=device, dtype=dtype)
    gate = odd_sixteenths(batch, channels, seed=4, device=device) if gated else None
    pooled = odd_sixteenths(batch, channels, seed=10, device=device) if gated else None
    shortcut = None if gated else output
    factor = torch.ones((), device=device) if gate is None else gate.double()[:, :, None, None]

    applied = primitives.apply(x, prologue, gate, shortcut, last)
    assert applied.dtype == dtype
    total = (value * factor + (0 if shortcut is None else shortcut.double())).detach().requires_grad_()
    expected = reference.ACTIVATIONS[last](total)
    assert_close(applied, expected, dtype)
    assert_close(primitives.pool(x, prologue), value.mean((2, 3)), torch.float32)
    products = (output.double() * value).sum((2, 3))
    assert_close(primitives.gate_gradient(output, x, prologue), products, torch.float32)

    (of_total,) = torch.autograd.grad(expected, total, output.double())
    of_value = of_total * factor
    if pooled is not None:
        of_value = of_value + pooled.double()[:, :, None, None] / (height * width)
    *actual, of_sum = primitives.apply_backward(output, gate, pooled, x, prologue, shortcut, last)
    for mine, expected in zip(actual, torch.autograd.grad(value, exact, of_value, retain_graph=True), strict=True):
        assert_close(mine, expected, dtype)
    assert (of_sum is None) == (last == "identity")
    if of_sum is not None:
        assert of_sum.dtype == dtype
        assert_close(of_sum, of_total, dtype)
    if pooled is not None:
        only_pooled = (pooled.double()[:, :, None, None] / (height * width)).expand(x.shape)
        *actual, _ = primitives.apply_backward(None, None, pooled, x, prologue)
        for mine, expected in zip(actual, torch.autograd.grad(value, exact, only_pooled), strict=True):
            assert_close(mine, expected, dtype)


@pytest.mark.usefixtures("poisoned_memory")
class NormalisingContract:
    """Of `Primitives.apply`, its backward pass, `Primitives.pool` and `Primitives.gate_gradient`."""

    @pytest.mark.parametrize("gated", [False, True])
    @pytest.mark.parametrize(
        ("batch", "channels", "height", "width"),
        [(1, 8, 1, 1), (3, 40, 7, 5), (1, 100, 3, 3), (3, 200, 1, 2), (2, 8, 63, 9)],
    )
    def test_apply_and_pool(
        self,
        batch: int,
        channels: int,
        height: int,
        width: int,
        gated: bool,
        primitives: Primitives,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        x = images(batch, channels, height, width, seed=0, device=device, dtype=dtype)
        check_apply(primitives, x, prologue_of(channels, "h_swish", device), gated)

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_every_activation_is_applied(self, activation: str, primitives: Primitives, device: str) -> None:
        x = 3 * images(3, 24, 7, 5, seed=2, device=device, dtype=torch.float32)  # h_swish is met on all its pieces
        check_apply(primitives, x, prologue_of(24, activation, device), gated=True)

    @pytest.mark.parametrize("gated", [False, True])
    @pytest.mark.parametrize(("activation", "last"), [*(("identity", each) for each in ACTIVATIONS), ("relu6", "relu")])
    def test_every_activation_is_applied_to_the_sum(
        self, activation: str, last: str, gated: bool, primitives: Primitives, dtype: torch.dtype, device: str
    ) -> None:
        x = 3 * images(3, 24, 7, 5, seed=2, device=device, dtype=dtype)
        check_apply(primitives, x, prologue_of(24, activation, device), gated, last)

    def test_relu6_has_slope_one_strictly_between_its_corners_and_none_on_them(
        self, primitives: Primitives, device: str
    ) -> None:
        x = torch.tensor([-1.0, 0.0, 1.0, 6.0, 7.0, 1e30, math.nan, 0.5], device=device).view(1, 8, 1, 1)
        x, one = x.contiguous(memory_format=torch.channels_last), torch.ones(8, device=device)
        for before, last in (("relu6", "identity"), ("identity", "relu6")):
            prologue = Prologue(one, 0 * one, before)
            applied = primitives.apply(x, prologue, None, None, last).flatten().tolist()
            assert applied == pytest.approx([0, 0, 1, 6, 6, 6, math.nan, 0.5], nan_ok=True)
            of_x = primitives.apply_backward(torch.ones_like(x), None, None, x, prologue, None, last)[0]
            assert of_x.flatten().tolist() == [0, 0, 1, 0, 0, 0, 0, 1]

    def test_many_workers_add_up_the_same_from_run_to_run(self, primitives: Primitives, device: str) -> None:
        x = random(1, 8, 63, 9, seed=0, device=device).contiguous(memory_format=torch.channels_last)
        prologue = Prologue(random(8, seed=5, device=device), random(8, seed=6, device=device), "swish")
        gradient = OutputGradient(x, x, random(2, 8, seed=8, device=device).double())
        point, depth = random(8, 8, 1, 1, seed=1, device=device), random(8, 1, 3, 3, seed=1, device=device)

        def everything() -> list[Tensor | None]:
            return [
                *primitives.pointwise(x, prologue, point, 8),
                *primitives.pointwise_backward(gradient, x, prologue, point),
                *primitives.depthwise(x, prologue, depth, 1),
                *primitives.depthwise_backward(gradient, x, prologue, depth, 1),
                *primitives.apply_backward(x, None, None, x, prologue, x, "relu"),
            ]

        for first, second in zip(everything(), everything(), strict=True):
            assert first is not None
            assert second is not None
            assert torch.equal(first, second)
