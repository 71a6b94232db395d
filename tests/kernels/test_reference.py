"""The plain operations against float64 sums written out, on odd sizes; inputs are never zero."""

import math

import pytest
import torch
from torch import Tensor

from kernels import reference

SIZES = [(1, 8, 1), (2, 24, 3), (3, 40, 7), (1, 56, 14)]  # batch, channels, side


def tensor(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, generator=generator)


@pytest.mark.parametrize(("batch", "channels", "side"), SIZES)
def test_pointwise_conv_is_a_product_with_the_leading_block(batch: int, channels: int, side: int) -> None:
    x, weight = tensor(batch, channels, side, side), tensor(72, 80, 1, 1)
    expected = torch.einsum("nihw,oi->nohw", x.double(), weight[:17, :channels, 0, 0].double())
    torch.testing.assert_close(reference.pointwise_conv(x, weight, 17).double(), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize(("batch", "channels", "side"), SIZES)
def test_depthwise_conv_is_a_sum_over_the_shifted_input(
    batch: int, channels: int, side: int, kernel: int, stride: int
) -> None:
    x, weight = tensor(batch, channels, side, side), tensor(64, 1, 7, 7)
    margin, padding = (7 - kernel) // 2, kernel // 2
    padded = torch.nn.functional.pad(x.double(), [padding] * 4)
    out = (side - 1) // stride + 1
    expected = torch.zeros(batch, channels, out, out, dtype=torch.float64)
    for row in range(kernel):
        for column in range(kernel):
            tap = weight[:channels, 0, margin + row, margin + column].double()
            shifted = padded[:, :, row : row + stride * out : stride, column : column + stride * out : stride]
            expected += tap[:, None, None] * shifted[:, :, :out, :out]
    actual = reference.depthwise_conv(x, weight, kernel, stride, {}).double()
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("batch", "channels", "side"), SIZES[1:])
def test_batch_norm_in_training_uses_the_batch_and_moves_the_leading_running_statistics(
    batch: int, channels: int, side: int
) -> None:
    x, weight, bias = tensor(batch, channels, side, side) * 3 + 1, tensor(64), tensor(64, seed=1)
    mean, variance = tensor(64, seed=2), tensor(64, seed=3).abs()
    old_mean, old_variance = mean.clone(), variance.clone()
    actual = reference.batch_norm(x, weight, bias, (mean, variance), True, 0.1, 1e-5, "relu")
    exact = x.double()
    batch_mean, batch_variance = exact.mean((0, 2, 3)), exact.var((0, 2, 3), unbiased=False)
    normalised = (exact - batch_mean[:, None, None]) / (batch_variance[:, None, None] + 1e-5).sqrt()
    expected = normalised * weight[:channels, None, None] + bias[:channels, None, None]
    torch.testing.assert_close(actual.double(), expected.clamp(min=0), atol=1e-4, rtol=1e-4)
    unbiased = exact.var((0, 2, 3), unbiased=True).float()
    torch.testing.assert_close(mean[:channels], 0.9 * old_mean[:channels] + 0.1 * batch_mean.float())
    torch.testing.assert_close(variance[:channels], 0.9 * old_variance[:channels] + 0.1 * unbiased)
    assert torch.equal(mean[channels:], old_mean[channels:])
    assert torch.equal(variance[channels:], old_variance[channels:])


@pytest.mark.parametrize(("batch", "channels", "side"), SIZES)
def test_squeeze_excite_scales_channels_by_a_gate_of_their_means(batch: int, channels: int, side: int) -> None:
    x = tensor(batch, channels, side, side)
    reduce, expand = (tensor(16, 64), tensor(16)), (tensor(64, 16, seed=1), tensor(64, seed=1))
    squeezed = x.double().mean((2, 3))
    hidden = (squeezed @ reduce[0][:8, :channels].double().T + reduce[1][:8].double()).clamp(min=0)
    gate = ((hidden @ expand[0][:channels, :8].double().T + expand[1][:channels].double()) + 3).clamp(0, 6) / 6
    actual = reference.squeeze_excite(x, reduce, expand, 8).double()
    torch.testing.assert_close(actual, x.double() * gate[:, :, None, None], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(("batch", "channels", "side"), SIZES)
def test_conv_is_a_sum_over_the_shifted_input_and_its_leading_channels(
    batch: int, channels: int, side: int, kernel: int, stride: int
) -> None:
    x, weight = tensor(batch, channels, side, side), tensor(24, 64, kernel, kernel)
    padded = torch.nn.functional.pad(x.double(), [kernel // 2] * 4)
    out = (side - 1) // stride + 1
    expected = torch.zeros(batch, 17, out, out, dtype=torch.float64)
    for row in range(kernel):
        for column in range(kernel):
            tap = weight[:17, :channels, row, column].double()
            shifted = padded[:, :, row : row + stride * out : stride, column : column + stride * out : stride]
            expected += torch.einsum("nihw,oi->nohw", shifted[:, :, :out, :out], tap)
    actual = reference.conv(x, weight, 17, stride).double()
    torch.testing.assert_close(actual, expected, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("activation", "values"),
    [
        ("relu", [0.0, 0.0, 1.5, 6.0, 7.0]),
        ("relu6", [0.0, 0.0, 1.5, 6.0, 6.0]),
        ("h_swish", [0.0, 0.0, 1.5 * 4.5 / 6, 6.0, 7.0]),
        (
            "swish",
            [-4 / (1 + math.exp(4)), 0.0, 1.5 / (1 + math.exp(-1.5)), 6 / (1 + math.exp(-6)), 7 / (1 + math.exp(-7))],
        ),
    ],
)
def test_activations_are_those_of_their_papers(activation: str, values: list[float]) -> None:
    x = torch.tensor([-4, 0, 1.5, 6, 7, math.nan], dtype=torch.float64)
    assert reference.ACTIVATIONS[activation](x).tolist() == pytest.approx([*values, math.nan], nan_ok=True)


def test_relu6_has_slope_one_strictly_between_its_corners() -> None:
    x = torch.tensor([-1.0, 0, 3, 6, 7]).requires_grad_()
    reference.ACTIVATIONS["relu6"](x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 0, 1, 0, 0]


def test_linear_is_a_product_with_the_leading_block() -> None:
    x, weight, bias = tensor(3, 17), tensor(12, 20), tensor(12)
    expected = x.double() @ weight[:7, :17].double().T + bias[:7].double()
    torch.testing.assert_close(reference.linear(x, weight, bias, 7).double(), expected, atol=1e-5, rtol=1e-5)


def test_a_block_settles_to_its_output_plus_its_shortcut_and_pools_to_means() -> None:
    x, shortcut = tensor(2, 3, 4, 4), tensor(2, 3, 4, 4, seed=1)
    assert torch.equal(reference.settle(x, None), x)
    assert torch.equal(reference.settle(x, shortcut), x + shortcut)
    assert torch.equal(reference.settle(x, shortcut, "relu"), (x + shortcut).clamp(min=0))
    assert torch.equal(reference.settle(x, None, "relu6"), x.clamp(0, 6))
    torch.testing.assert_close(reference.pool(x), x.sum((2, 3)) / 16)


def test_gradients_of_slices_accumulate_in_the_leading_block_and_pass_gradcheck() -> None:
    x = tensor(2, 3, 4, 4).double().requires_grad_()
    pointwise, depthwise = tensor(6, 5, 1, 1).double().requires_grad_(), tensor(4, 1, 5, 5).double().requires_grad_()
    transforms = {"5to3": tensor(9, 9).double().requires_grad_()}

    def both(x: Tensor, pointwise: Tensor, depthwise: Tensor, matrix: Tensor) -> Tensor:
        y = reference.depthwise_conv(x, depthwise, 3, 2, {"5to3": matrix})
        return reference.pointwise_conv(y, pointwise, 4)

    assert torch.autograd.gradcheck(both, (x, pointwise, depthwise, transforms["5to3"]))
    both(x, pointwise, depthwise, transforms["5to3"]).sum().backward()
    assert pointwise.grad is not None
    assert pointwise.grad[:4, :3].abs().min() > 0
    assert not pointwise.grad[4:].any()
    assert not pointwise.grad[:, 3:].any()
