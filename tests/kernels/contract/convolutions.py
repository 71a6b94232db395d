"""Convolutions against float64 autograd of torch's own, on odd sizes: outputs, moments and all gradients."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

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


def check_pointwise(primitives: Primitives, x: Tensor, activation: str | None, outputs: int, of_moments: float) -> None:
    """With the leading block of a larger weight, whose gradient is zero around it.

    Args:
        of_moments: how far off they may be, relative to the sum of what is summed, without signs.
    """
    inputs, device = x.shape[1], x.device.type
    weight = odd_sixteenths(outputs + 16, inputs + 8, 1, 1, seed=1, device=device)
    prologue = None if activation is None else prologue_of(inputs, activation, device)

    def backward(gradient: OutputGradient) -> tuple[Tensor | None, ...]:
        return primitives.pointwise_backward(gradient, x, prologue, weight)

    def exact(operand: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(operand, weight[:outputs, :inputs])

    forward = primitives.pointwise(x, prologue, weight, outputs)
    _assert_moments_are_of(*forward, of_moments)
    of_weight = _check(forward[0], backward, x, prologue, weight, exact)
    assert not of_weight[outputs:].any()
    assert not of_weight[:, inputs:].any()


def check_depthwise(
    primitives: Primitives, x: Tensor, activation: str | None, kernel: int, stride: int, of_moments: float
) -> None:
    """With the centres of 7×7 kernels, read in place; `of_moments` as for `check_pointwise`."""
    channels, device, margin = x.shape[1], x.device.type, (7 - kernel) // 2
    whole = odd_sixteenths(channels + 8, 1, 7, 7, seed=1, device=device)
    weight = whole[:channels, :, margin : margin + kernel, margin : margin + kernel]
    assert weight.is_contiguous() == (kernel == 7)
    prologue = None if activation is None else prologue_of(channels, activation, device)

    def backward(gradient: OutputGradient) -> tuple[Tensor | None, ...]:
        return primitives.depthwise_backward(gradient, x, prologue, weight, stride)

    def exact(operand: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(operand, weight, stride=stride, padding=kernel // 2, groups=channels)

    forward = primitives.depthwise(x, prologue, weight, stride)
    _assert_moments_are_of(*forward, of_moments)
    _check(forward[0], backward, x, prologue, weight, exact)


def _check(y: Tensor, backward: Any, x: Tensor, prologue: Prologue | None, weight: Tensor, exact: Any) -> Tensor:
    """Output and all gradients; returns that of the weight."""
    device = x.device.type
    ones, zeros = torch.ones(x.shape[1], device=device), torch.zeros(x.shape[1], device=device)
    scale, shift, activation = prologue or (ones, zeros, "identity")
    leaves = exact_leaves(x, scale, shift, weight)
    expected = exact(activated(*leaves[:3], activation), leaves[3])
    assert y.dtype == x.dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert_close(y, expected, x.dtype)

    # Any y will do for the backward pass.
    direct, stored = (images(*y.shape, seed=seed, device=device, dtype=y.dtype) for seed in (7, 9))
    of_moments = 0.5 * random(2, y.shape[1], seed=8, device=device).double()
    actual = backward(OutputGradient(direct, stored, of_moments))
    of_sum, of_square = of_moments[:, :, None, None]
    expected.backward(direct.double() + of_sum + 2 * of_square * stored.double())
    assert (actual[1] is None, actual[2] is None) == (prologue is None, prologue is None)
    for mine, leaf in zip(actual, leaves, strict=True):
        if mine is not None:
            assert leaf.grad is not None
            assert_close(mine, leaf.grad, x.dtype)
    assert actual[0].dtype == x.dtype
    assert actual[0].is_contiguous(memory_format=torch.channels_last)
    assert actual[3].dtype == torch.float32
    return actual[3]


def _assert_moments_are_of(y: Tensor, moments: Tensor, tolerance: float) -> None:
    """Of the values that were stored, not of those before rounding."""
    assert moments.dtype == torch.float64
    stored = y.double()
    expected = torch.stack((stored.sum((0, 2, 3)), stored.square().sum((0, 2, 3))))
    size = torch.stack((stored.abs().sum((0, 2, 3)), expected[1]))
    assert ((moments - expected).abs() <= tolerance * size).all()


@pytest.mark.usefixtures("poisoned_memory")
class ConvolutionsContract:
    """Of `Primitives.pointwise`, `Primitives.depthwise` and their backward passes."""

    of_moments = 1e-6  # see `check_pointwise`

    @pytest.mark.parametrize("activation", [None, "h_swish"])
    @pytest.mark.parametrize(
        ("batch", "inputs", "outputs", "height", "width"),
        [
            (1, 8, 24, 1, 1),
            (3, 24, 40, 7, 5),
            (3, 40, 72, 14, 13),
            (1, 100, 9, 3, 3),  # channels that are no multiple of a vector
            (1, 7, 100, 7, 7),
            (2, 56, 104, 5, 4),  # multiples of 8 and not of 16, as ResNet50D and Proxyless have them
            (1, 248, 416, 2, 1),
            (1, 232, 168, 1, 3),
            (2, 40, 216, 3, 3),
            (1, 960, 8, 1, 3),  # more channels than are summed over at once, forward
            (3, 8, 960, 1, 3),  # and backward
            (1, 8, 16, 63, 63),  # several workers
        ],
    )
    def test_pointwise(
        self,
        batch: int,
        inputs: int,
        outputs: int,
        height: int,
        width: int,
        activation: str | None,
        primitives: Primitives,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        x = images(batch, inputs, height, width, seed=0, device=device, dtype=dtype)
        check_pointwise(primitives, x, activation, outputs, self.of_moments)

    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize(
        ("batch", "channels", "height", "width", "kernel", "activation"),
        [
            (1, 8, 1, 1, 7, "relu"),
            (3, 24, 7, 5, 3, "h_swish"),
            (3, 24, 7, 6, 5, None),
            (1, 40, 5, 7, 7, "swish"),
            (1, 72, 7, 3, 5, "h_swish"),
            (1, 100, 3, 3, 3, None),
            (1, 136, 1, 2, 3, "relu"),
            (2, 104, 5, 4, 5, "relu6"),
            (1, 312, 3, 2, 3, "swish"),
            (1, 8, 63, 9, 3, "h_swish"),  # several workers
        ],
    )
    def test_depthwise(
        self,
        batch: int,
        channels: int,
        height: int,
        width: int,
        kernel: int,
        activation: str | None,
        stride: int,
        primitives: Primitives,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        x = images(batch, channels, height, width, seed=0, device=device, dtype=dtype)
        check_depthwise(primitives, x, activation, kernel, stride, self.of_moments)

    def test_depthwise_of_very_many_channels(self, primitives: Primitives, device: str) -> None:
        x = images(1, 960, 1, 1, seed=0, device=device, dtype=torch.float32)
        check_depthwise(primitives, x, None, 3, 1, self.of_moments)

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_every_activation_rides_along(self, activation: str, primitives: Primitives, device: str) -> None:
        x = 3 * images(3, 24, 7, 5, seed=2, device=device, dtype=torch.float32)  # h_swish is met on all its pieces
        check_pointwise(primitives, x, activation, 16, self.of_moments)
        check_depthwise(primitives, x, activation, 3, 1, self.of_moments)
