"""The C++ operations against float64 convolutions and autograd: outputs, moments and all gradients, on odd sizes.

The operands are dyadic fractions, so that no normalised value lies on the corner of an activation, where float32 and
float64 could fall on different sides; and none is zero. What the C++ does not write stays not-a-number.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import reference
from kernels.cpu import primitives as cpu
from kernels.cpu.build import BuildError, library
from kernels.dispatch import operations_for
from kernels.fused import Normalised
from tests.kernels.contract import BatchNormContract, Launches, counted
from tests.kernels.moments import assert_the_variance_survives_a_mean_far_larger_than_it

try:
    library()
except BuildError as error:
    pytest.skip(str(error), allow_module_level=True)

ACTIVATIONS = ["identity", "relu", "h_swish", "swish"]
# Rounding: each value is a sum of products in float32, whose error grows with the root of the number of terms; the
# longest sum here has some 10⁵ terms, and none was seen off by more than 3e-6 of the largest value beside it.
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("empty", "empty_like"):
        original = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, _original=original, **k: _original(*a, **k).fill_(math.nan))


@pytest.fixture
def primitives() -> cpu.CpuPrimitives:
    return cpu.CpuPrimitives()


@pytest.fixture
def device() -> str:
    return "cpu"


@pytest.fixture
def launches() -> Callable[[], AbstractContextManager[Launches]]:
    return lambda: counted(cpu.CpuPrimitives, "_call")


class TestBatchNorm(BatchNormContract):
    pass


def odd_sixteenths(*shape: int, seed: int = 0) -> Tensor:
    """Odd multiples of 1/16 between −2 and 2: never zero."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return (2 * torch.randint(-16, 16, shape, generator=generator) + 1) / 16


def channels_last(x: Tensor) -> Tensor:
    return x.to(memory_format=torch.channels_last)


def normalised(batch: int, channels: int, side: int, activation: str) -> Normalised:
    """Values at odd multiples of 1/32: no corner of an activation is one."""
    scale = torch.tensor([0.5, -0.5]).repeat(channels)[:channels]
    shift = torch.arange(channels) % 7 / 4 - 0.75
    return Normalised(channels_last(odd_sixteenths(batch, channels, side, side)), scale, shift, activation)


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().clone(memory_format=torch.preserve_format).requires_grad_() for tensor in tensors]


def exact(x: Normalised | tuple[Tensor, Tensor, Tensor, str]) -> Tensor:
    raw, scale, shift, activation = x
    return reference.ACTIVATIONS[activation](raw * scale[:, None, None] + shift[:, None, None])


def assert_close(actual: Tensor | None, expected: Tensor | None) -> None:
    assert (actual is None) == (expected is None)
    if actual is not None and expected is not None:
        assert actual.isfinite().all()
        assert (actual - expected).detach().abs().max() <= TOLERANCE * expected.detach().abs().max()


def assert_convolution(mine: tuple[Tensor, Tensor], y: Tensor, my_leaves: list[Tensor], wanted: list[Tensor]) -> None:
    """Compare output, moments, and the gradients of a loss that weighs both."""
    moments = torch.stack((y.sum((0, 2, 3)), y.square().sum((0, 2, 3))))
    assert_close(mine[0].double(), y)
    assert_close(mine[1], moments)
    assert mine[0].is_contiguous(memory_format=torch.channels_last)
    pull = odd_sixteenths(*y.shape, seed=5)
    pull_moments = odd_sixteenths(*moments.shape, seed=6) / y.numel() * y.shape[1]
    ((mine[0] * pull).sum() + (mine[1] * pull_moments).sum()).backward()
    ((y * pull).sum() + (moments * pull_moments).sum()).backward()
    for actual, expected in zip(my_leaves, wanted, strict=True):
        assert_close(actual.grad, expected.grad)


SIZES = [  # batch, inputs, outputs, side
    (1, 8, 8, 1),
    (3, 24, 40, 3),
    (2, 17, 100, 7),
    (1, 160, 960, 3),
    (2, 960, 33, 2),
    (1, 9, 72, 63),
    (5, 40, 24, 14),
]


@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
@pytest.mark.parametrize(("batch", "inputs", "outputs", "side"), SIZES)
def test_pointwise_conv(batch: int, inputs: int, outputs: int, side: int, activation: str | None) -> None:
    operations = operations_for("cpu", "cpu", torch.float32)
    raw, scale, shift, name = normalised(batch, inputs, side, activation or "identity")
    weight = odd_sixteenths(outputs + 5, inputs + 3, 1, 1, seed=1)
    mine, wanted = leaves(raw, scale, shift, weight), leaves(*(t.double() for t in (raw, scale, shift, weight)))
    if activation is None:
        got = operations.pointwise_conv(mine[0], mine[3], outputs)
        mine, wanted = [mine[0], mine[3]], [wanted[0], wanted[3]]
        operand = wanted[0]
    else:
        got = operations.pointwise_conv(Normalised(*mine[:3], name), mine[3], outputs)
        operand = exact((wanted[0], wanted[1], wanted[2], name))
    y = F.conv2d(operand, wanted[-1][:outputs, :inputs])
    assert_convolution(got, y, mine, wanted)
    gradient = mine[-1].grad
    assert gradient is not None
    assert not gradient[outputs:].any()
    assert not gradient[:, inputs:].any()


@pytest.mark.parametrize("activation", [None, "relu", "swish"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize(
    ("batch", "channels", "side"), [(1, 8, 1), (3, 24, 3), (2, 17, 7), (1, 100, 14), (1, 9, 63), (1, 960, 3)]
)
def test_depthwise_conv(batch: int, channels: int, side: int, kernel: int, stride: int, activation: str | None) -> None:
    """The kernels are centres of 7×7 ones, some of them through a transform."""
    operations = operations_for("cpu", "cpu", torch.float32)
    raw, scale, shift, name = normalised(batch, channels, side, activation or "identity")
    weight = odd_sixteenths(channels + 5, 1, 7, 7, seed=1)
    transforms = {"7to5": odd_sixteenths(25, 25, seed=2), "5to3": odd_sixteenths(9, 9, seed=3)}
    if channels > 64:
        transforms = {}
    given = (raw, scale, shift, weight, *transforms.values())
    mine, wanted = leaves(*given), leaves(*(tensor.double() for tensor in given))
    if activation is None:
        x, operand = mine[0], wanted[0]
    else:
        x, operand = Normalised(*mine[:3], name), exact((wanted[0], wanted[1], wanted[2], name))
    got = operations.depthwise_conv(x, mine[3], kernel, stride, dict(zip(transforms, mine[4:], strict=True)))
    active = reference.centre_kernel(wanted[3][:channels], kernel, dict(zip(transforms, wanted[4:], strict=True)))
    y = F.conv2d(operand, active, stride=stride, padding=kernel // 2, groups=channels)
    if activation is None:
        mine, wanted = [mine[0], *mine[3:]], [wanted[0], *wanted[3:]]
    assert_convolution(got, y, mine, wanted)


@pytest.mark.parametrize("shortcut", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("batch", "channels", "side"), [(1, 8, 1), (3, 24, 7), (2, 100, 3), (1, 17, 63)])
def test_the_end_of_a_block(batch: int, channels: int, side: int, activation: str, shortcut: bool) -> None:
    operations = operations_for("cpu", "cpu", torch.float32)
    beside = channels_last(odd_sixteenths(batch, channels, side, side, seed=1))
    given = [*normalised(batch, channels, side, activation)[:3], beside]
    mine, wanted = leaves(*given), leaves(*(tensor.double() for tensor in given))
    got = operations.settle(Normalised(*mine[:3], activation), mine[3] if shortcut else None)
    y = exact((wanted[0], wanted[1], wanted[2], activation)) + (wanted[3] if shortcut else 0)
    assert_close(got.double(), y)
    pull = odd_sixteenths(*y.shape, seed=5)
    (got * pull).sum().backward()
    (y * pull).sum().backward()
    for actual, expected in zip(mine, wanted, strict=True):
        assert_close(actual.grad, expected.grad)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("batch", "channels", "side"), [(1, 8, 1), (3, 24, 7), (2, 100, 3)])
def test_pooling(batch: int, channels: int, side: int, activation: str) -> None:
    operations = operations_for("cpu", "cpu", torch.float32)
    given = normalised(batch, channels, side, activation)[:3]
    mine, wanted = leaves(*given), leaves(*(tensor.double() for tensor in given))
    got = operations.pool(Normalised(*mine, activation))
    y = exact((wanted[0], wanted[1], wanted[2], activation)).mean((2, 3))
    assert_close(got.double(), y)
    pull = odd_sixteenths(*y.shape, seed=5)
    (got * pull).sum().backward()
    (y * pull).sum().backward()
    for actual, expected in zip(mine, wanted, strict=True):
        assert_close(actual.grad, expected.grad)


@pytest.mark.parametrize("size", [0.25, 4.0])  # the larger weights drive most gates to zero or one
@pytest.mark.parametrize("activation", ["relu", "h_swish"])
@pytest.mark.parametrize(("batch", "channels", "side", "reduced"), [(1, 8, 1, 8), (3, 24, 7, 8), (2, 100, 3, 24)])
def test_squeeze_excite(batch: int, channels: int, side: int, reduced: int, activation: str, size: float) -> None:
    operations = operations_for("cpu", "cpu", torch.float32)
    shapes = ((reduced + 2, channels + 4), (reduced + 2,), (channels + 4, reduced + 2), (channels + 4,))
    parameters = [odd_sixteenths(*shape, seed=index) * size for index, shape in enumerate(shapes)]
    given = (*normalised(batch, channels, side, activation)[:3], *parameters)
    mine, wanted = leaves(*given), leaves(*(tensor.double() for tensor in given))
    got = operations.squeeze_excite(Normalised(*mine[:3], activation), tuple(mine[3:5]), tuple(mine[5:]), reduced)
    operand = exact((wanted[0], wanted[1], wanted[2], activation))
    hidden = F.relu(operand.mean((2, 3)) @ wanted[3][:reduced, :channels].T + wanted[4][:reduced])
    gate = ((hidden @ wanted[5][:channels, :reduced].T + wanted[6][:channels]) / 6 + 0.5).clamp(0, 1)
    y = operand * gate[:, :, None, None]
    assert_close(got.double(), y)
    pull = odd_sixteenths(*y.shape, seed=5)
    (got * pull).sum().backward()
    (y * pull).sum().backward()
    for actual, expected in zip(mine, wanted, strict=True):
        assert_close(actual.grad, expected.grad)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_a_convolution(training: bool) -> None:
    """Normalised output, and running statistics of the leading channels, against torch's batch norm in float64."""
    operations = operations_for("cpu", "cpu", torch.float32)
    x, weight = channels_last(odd_sixteenths(3, 8, 5, 5)), odd_sixteenths(24, 8, 1, 1)
    gamma, beta, mean, variance = (odd_sixteenths(30, seed=seed).abs() for seed in range(4))
    running = (mean.clone(), variance.clone())
    y = operations.batch_norm(
        operations.pointwise_conv(x, weight, 20), gamma, beta, running, training, 0.1, 1e-5, "h_swish"
    )
    convolved = F.conv2d(x.double(), weight[:20].double())
    wanted = [each[:20].double() for each in (mean, variance)]
    affine = [each[:20].double() for each in (gamma, beta)]
    expected = F.batch_norm(convolved, *wanted, *affine, training, 0.1, 1e-5)
    assert_close(operations.settle(y, None).double(), F.hardswish(expected))
    for statistics, before, after in zip(running, (mean, variance), wanted, strict=True):
        torch.testing.assert_close(statistics[:20].double(), after, rtol=1e-6, atol=1e-6)
        assert torch.equal(statistics[20:], before[20:])


def test_the_variance_survives_a_mean_far_larger_than_it() -> None:
    assert_the_variance_survives_a_mean_far_larger_than_it(operations_for("cpu", "cpu", torch.float32), "cpu")


def test_the_same_number_of_threads_gives_the_same_bits_and_another_one_the_same_values() -> None:
    def gradients(threads: int) -> list[Tensor]:
        torch.set_num_threads(threads)
        operations = operations_for("cpu", "cpu", torch.float32)
        given = leaves(*normalised(6, 40, 9, "h_swish")[:3], odd_sixteenths(72, 40, 1, 1), odd_sixteenths(72, 1, 5, 5))
        y, moments = operations.pointwise_conv(Normalised(*given[:3], "h_swish"), given[3], 72)
        z, more = operations.depthwise_conv(y, given[4], 5, 2, {})
        (z.square().sum() + moments.sum() + more.sum()).backward()
        return [tensor.grad for tensor in given if tensor.grad is not None]

    before = torch.get_num_threads()
    try:
        two, again, one = gradients(2), gradients(2), gradients(1)
    finally:
        torch.set_num_threads(before)
    assert len(two) == 5
    for first, second, third in zip(two, again, one, strict=True):
        assert torch.equal(first, second)
        assert_close(first, third)


def test_a_compiler_that_is_missing_or_fails_is_one_line(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(BuildError, match=r"^false failed: exit code 1$"):
        library.__wrapped__()
    monkeypatch.delenv("CXX")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"no C\+\+ compiler was found"):
        library.__wrapped__()
    assert not list((tmp_path / "deps-kernels").iterdir())


def test_primitives_take_the_centre_of_a_larger_kernel_in_place() -> None:
    weight = odd_sixteenths(8, 1, 7, 7)[:, :, 2:5, 2:5]
    assert not weight.is_contiguous()
    x = channels_last(odd_sixteenths(1, 8, 5, 5))
    y, _ = cpu.CpuPrimitives().depthwise(x, None, weight, 1)
    assert_close(y.double(), F.conv2d(x.double(), weight.double(), padding=1, groups=8))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_is_not_a_number_stays_so(activation: str) -> None:
    operations = operations_for("cpu", "cpu", torch.float32)
    raw, scale, shift, _ = normalised(1, 8, 3, activation)
    raw[0, 2, 1, 1] = math.nan
    settled = operations.settle(Normalised(raw, scale, shift, activation), None)
    assert settled[0, 2, 1, 1].isnan()
    y = operations.pointwise_conv(Normalised(raw, scale, shift, activation), odd_sixteenths(5, 8, 1, 1), 5)
    assert y.raw[0, :, 1, 1].isnan().all()
    assert y.moments.isnan().all()
