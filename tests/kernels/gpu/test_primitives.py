"""Every pass against float64 autograd of the plain operations, on odd sizes; inputs are never zero.

Tolerances are multiples of a channel's root mean square, so that one wrong pixel of one channel is seen. In float32 an
output sums up to a thousand products: 1e-5 is 80 roundings. In bfloat16 the inputs are exact; weight, activated input
and output are rounded, each by up to 2^-8 of its value, and a value may be several times the root mean square: 2^-4 is
two roundings of eight times. A wrong tap or pixel is off by about one.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from triton.runtime.interpreter import GridExecutor
from triton.runtime.jit import JITFunction

from kernels.gpu.primitives import TritonPrimitives
from kernels.primitives import OutputGradient, Prologue
from tests.kernels.contract import BatchNormContract, Launches, counted

ACTIVATIONS = {"identity": lambda z: z, "relu": F.relu, "h_swish": F.hardswish, "swish": F.silu}
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2**-4}
primitives = TritonPrimitives()


@pytest.fixture(name="primitives")
def _primitives() -> TritonPrimitives:
    return primitives


@pytest.fixture
def launches() -> Callable[[], AbstractContextManager[Launches]]:
    return lambda: counted(JITFunction, "run") if torch.cuda.is_available() else counted(GridExecutor, "__call__")


class TestBatchNorm(BatchNormContract):
    pass


def random(*shape: int, seed: int, device: str) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape))).to(device)


def images(*shape: int, seed: int, device: str, dtype: torch.dtype) -> Tensor:
    out = random(*shape, seed=seed, device=device).to(dtype)
    return out.contiguous(memory_format=torch.channels_last)


def prologue_of(channels: int, activation: str, device: str) -> Prologue:
    scale, shift = random(channels, seed=5, device=device), random(channels, seed=6, device=device)
    return Prologue(scale, shift, activation)


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [tensor.double().detach().requires_grad_() for tensor in tensors]


def activated(x: Tensor, scale: Tensor, shift: Tensor, activation: str) -> Tensor:
    return ACTIVATIONS[activation](x * scale[:, None, None] + shift[:, None, None])


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """Channel by channel where there are images, over the whole otherwise."""
    assert actual.shape == expected.shape
    error = (actual.double() - expected).abs()
    dims = (0, 2, 3) if expected.dim() == 4 and expected.shape[2:] != (1, 1) else tuple(range(expected.dim()))
    # A channel far below the others may be what is left of larger ones, by cancellation.
    scale = expected.square().mean(dims, keepdim=True).sqrt().clamp(min=0.3 * expected.square().mean().sqrt())
    assert (error <= TOLERANCE[dtype] * scale).all(), f"off by {(error / scale).max().item():.1e}"


def assert_moments_are_of(y: Tensor, moments: Tensor) -> None:
    """Of the values that were stored, not of those before rounding."""
    assert moments.dtype == torch.float64
    stored = y.double()
    expected = torch.stack((stored.sum((0, 2, 3)), stored.square().sum((0, 2, 3))))
    size = torch.stack((stored.abs().sum((0, 2, 3)), expected[1]))
    assert ((moments - expected).abs() <= 1e-6 * size).all()


def check_convolution(name: str, x: Tensor, prologue: Prologue | None, weight: Tensor, *rest: int) -> None:
    """Output, moments and all gradients of the pass called `name`; rest: outputs of pointwise, stride of depthwise."""
    y, moments = getattr(primitives, name)(x, prologue, weight, *rest)
    scale, shift, activation = prologue or (torch.ones(x.shape[1]).to(x), torch.zeros(x.shape[1]).to(x), "identity")
    exact = leaves(x, scale, shift, weight)
    operand = activated(exact[0], exact[1], exact[2], activation)
    if name == "pointwise":
        expected = F.conv2d(operand, exact[3][: rest[0], : x.shape[1]])
    else:
        padding = weight.shape[-1] // 2
        expected = F.conv2d(operand, exact[3], stride=rest[0], padding=padding, groups=x.shape[1])
    assert y.dtype == x.dtype
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert_close(y, expected, x.dtype)
    assert_moments_are_of(y, moments)

    direct = images(*y.shape, seed=7, device=y.device.type, dtype=y.dtype)
    of_moments = 0.5 * random(2, y.shape[1], seed=8, device=y.device.type).double()
    stored = images(*y.shape, seed=9, device=y.device.type, dtype=y.dtype)
    gradient = OutputGradient(direct, stored, of_moments)
    backward = getattr(primitives, f"{name}_backward")
    arguments = () if name == "pointwise" else rest
    actual = backward(gradient, x, prologue, weight, *arguments)
    of_sum, of_square = of_moments.double()[:, :, None, None]
    expected.backward(direct.double() + of_sum + 2 * of_square * stored.double())
    assert (actual[1] is None, actual[2] is None) == (prologue is None, prologue is None)
    for mine, leaf in zip(actual, exact, strict=True):
        if mine is not None:
            assert leaf.grad is not None
            assert_close(mine, leaf.grad, x.dtype)
    assert actual[3].dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("activation", [None, "h_swish"])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs", "height", "width"),
    [
        (1, 8, 24, 1, 1),
        (3, 24, 40, 7, 5),
        (3, 40, 72, 14, 13),
        (1, 100, 9, 3, 3),  # channels that are no multiple of a vector
        (1, 7, 100, 7, 7),
        (1, 960, 8, 1, 3),  # more channels than are summed over at once, forward
        (3, 8, 960, 1, 3),  # and backward
        (1, 8, 16, 63, 63),  # several workers
    ],
)
def test_pointwise(
    batch: int,
    inputs: int,
    outputs: int,
    height: int,
    width: int,
    activation: str | None,
    dtype: torch.dtype,
    device: str,
) -> None:
    x = images(batch, inputs, height, width, seed=0, device=device, dtype=dtype)
    weight = random(outputs + 16, inputs + 8, 1, 1, seed=1, device=device)
    prologue = None if activation is None else prologue_of(inputs, activation, device)
    check_convolution("pointwise", x, prologue, weight, outputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
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
        (1, 8, 63, 9, 3, "h_swish"),  # several workers
    ],
)
def test_depthwise(
    batch: int,
    channels: int,
    height: int,
    width: int,
    kernel: int,
    activation: str | None,
    stride: int,
    dtype: torch.dtype,
    device: str,
) -> None:
    x = images(batch, channels, height, width, seed=0, device=device, dtype=dtype)
    margin = (7 - kernel) // 2
    weight = random(channels + 8, 1, 7, 7, seed=1, device=device)[:channels]
    centre = weight[:, :, margin : margin + kernel, margin : margin + kernel]
    prologue = None if activation is None else prologue_of(channels, activation, device)
    check_convolution("depthwise", x, prologue, centre, stride)


def test_depthwise_of_very_many_channels(device: str) -> None:
    x = images(1, 960, 1, 1, seed=0, device=device, dtype=torch.float32)
    check_convolution("depthwise", x, None, random(960, 1, 3, 3, seed=1, device=device), 1)


def test_many_workers_add_up_the_same_from_run_to_run(device: str) -> None:
    x = images(1, 8, 63, 9, seed=0, device=device, dtype=torch.float32)
    prologue = prologue_of(8, "swish", device)
    gradient = OutputGradient(x, x, random(2, 8, seed=8, device=device).double())
    point, depth = random(8, 8, 1, 1, seed=1, device=device), random(8, 1, 3, 3, seed=1, device=device)

    def everything() -> list[Tensor | None]:
        return [
            *primitives.pointwise(x, prologue, point, 8),
            *primitives.pointwise_backward(gradient, x, prologue, point),
            *primitives.depthwise(x, prologue, depth, 1),
            *primitives.depthwise_backward(gradient, x, prologue, depth, 1),
            *primitives.apply_backward(x, None, None, x, prologue),
        ]

    for first, second in zip(everything(), everything(), strict=True):
        assert first is not None
        assert second is not None
        assert torch.equal(first, second)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_rides_along(activation: str, device: str) -> None:
    x = images(3, 24, 7, 5, seed=2, device=device, dtype=torch.float32)
    x *= 3  # so that h_swish is met on all its pieces
    prologue = prologue_of(24, activation, device)
    check_convolution("pointwise", x, prologue, random(16, 24, 1, 1, seed=1, device=device), 16)
    check_convolution("depthwise", x, prologue, random(24, 1, 3, 3, seed=1, device=device), 1)
    check_apply(x, prologue, gated=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize(
    ("batch", "channels", "height", "width"),
    [(1, 8, 1, 1), (3, 40, 7, 5), (1, 100, 3, 3), (3, 200, 1, 2), (2, 8, 63, 9)],
)
def test_apply_and_pool(
    batch: int, channels: int, height: int, width: int, gated: bool, dtype: torch.dtype, device: str
) -> None:
    x = images(batch, channels, height, width, seed=0, device=device, dtype=dtype)
    check_apply(x, prologue_of(channels, "h_swish", device), gated)


def check_apply(x: Tensor, prologue: Prologue, gated: bool) -> None:
    """All passes of normalisation; with a gate and a pooled gradient, or with neither and a shortcut."""
    (batch, channels, height, width), dtype, device = x.shape, x.dtype, x.device.type
    exact = leaves(x, prologue.scale, prologue.shift)
    value = activated(exact[0], exact[1], exact[2], prologue.activation)
    output = images(*x.shape, seed=3, device=device, dtype=dtype)
    gate = random(batch, channels, seed=4, device=device) if gated else None
    pooled = random(batch, channels, seed=10, device=device) if gated else None
    shortcut = None if gated else output
    factor = torch.ones((), device=device) if gate is None else gate.double()[:, :, None, None]

    expected = value * factor + (0 if shortcut is None else shortcut.double())
    assert_close(primitives.apply(x, prologue, gate, shortcut), expected, dtype)
    assert_close(primitives.pool(x, prologue), value.mean((2, 3)), torch.float32)
    products = (output.double() * value).sum((2, 3))
    assert_close(primitives.gate_gradient(output, x, prologue), products, torch.float32)

    of_value = output.double() * factor
    if pooled is not None:
        of_value = of_value + pooled.double()[:, :, None, None] / (height * width)
    actual = primitives.apply_backward(output, gate, pooled, x, prologue)
    for mine, expected in zip(actual, torch.autograd.grad(value, exact, of_value, retain_graph=True), strict=True):
        assert_close(mine, expected, dtype)
    if pooled is not None:
        only_pooled = (pooled.double()[:, :, None, None] / (height * width)).expand(x.shape)
        actual = primitives.apply_backward(None, None, pooled, x, prologue)
        for mine, expected in zip(actual, torch.autograd.grad(value, exact, only_pooled), strict=True):
            assert_close(mine, expected, dtype)
