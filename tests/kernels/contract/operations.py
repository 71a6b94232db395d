"""A backend's operations through autograd, against the plain operations in float64: values and all gradients."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import reference
from kernels.fused import Convolved, Normalised
from tests.kernels.contract.operands import (
    ACTIVATIONS,
    activated,
    assert_close,
    exact_leaves,
    images,
    odd_sixteenths,
    prologue_of,
)

SIZES = [(1, 8, 1), (3, 24, 7), (2, 100, 3)]  # batch, channels, side


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [tensor.detach().clone(memory_format=torch.preserve_format).requires_grad_() for tensor in tensors]


def raw_scale_shift(batch: int, channels: int, side: int, device: str, dtype: torch.dtype) -> list[Tensor]:
    prologue = prologue_of(channels, "identity", device)
    return [images(batch, channels, side, side, seed=0, device=device, dtype=dtype), prologue.scale, prologue.shift]


def check(
    given: Sequence[Tensor], mine: Callable[..., Sequence[Tensor]], plain: Callable[..., Sequence[Tensor]]
) -> None:
    """Compare what both make of `given`, and the gradients of a sum that weighs everything they make.

    `mine` gets the tensors as they are, `plain` in float64; the first tensor's type is that of the activations.
    """
    dtype, device = given[0].dtype, given[0].device.type
    own, exact = leaves(*given), exact_leaves(*given)
    actual, expected = mine(*own), plain(*exact)
    pulls = [odd_sixteenths(*each.shape, seed=5, device=device) for each in expected]
    for one, other in zip(actual, expected, strict=True):
        assert_close(one, other, dtype)
    for outputs in (actual, expected):
        sum((each * pull.to(each)).sum() for each, pull in zip(outputs, pulls, strict=True)).backward()
    for one, other in zip(own, exact, strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None and other.grad is not None:
            assert_close(one.grad, other.grad, dtype)


def moments_of(y: Tensor) -> Tensor:
    return torch.stack((y.sum((0, 2, 3)), y.square().sum((0, 2, 3)))) / y[:, 0].numel()


def block(operations: Any, x: Tensor, weights: dict[str, Tensor], running: list[Any]) -> tuple[Tensor, Tensor]:
    """Expand, depthwise 5×5, squeeze-and-excite, project, shortcut; and the pooled output of the expansion."""

    def norm(y: Any, index: int, activation: str) -> Any:
        gamma, beta = weights[f"gamma{index}"], weights[f"beta{index}"]
        return operations.batch_norm(y, gamma, beta, running[index], True, 0.1, 1e-5, activation)

    expanded = norm(operations.pointwise_conv(x, weights["expand"], 24), 0, "relu")
    pooled = operations.pool(expanded)
    y = operations.depthwise_conv(expanded, weights["depthwise"], 5, 1, {"7to5": weights["7to5"]})
    y = norm(y, 1, "h_swish")
    reduce, excite = (weights["reduce"], weights["reduce_bias"]), (weights["excite"], weights["excite_bias"])
    y = operations.squeeze_excite(y, reduce, excite, 8)
    y = norm(operations.pointwise_conv(y, weights["project"], 16), 2, "identity")
    return operations.settle(y, x), pooled


def weights_of_a_block(device: str) -> dict[str, Tensor]:
    """Full-size weights of an inverted residual block, of which 16, 24 and 8 channels are used."""
    shapes = {
        "expand": (40, 24, 1, 1),
        "depthwise": (40, 1, 7, 7),
        "project": (24, 40, 1, 1),
        "reduce": (16, 40),
        "reduce_bias": (16,),
        "excite": (40, 16),
        "excite_bias": (40,),
        "7to5": (25, 25),
    }
    shapes |= {f"{kind}{norm}": (40,) for kind in ("gamma", "beta") for norm in range(3)}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(*shape, generator=generator).to(device) for name, shape in shapes.items()}


def block_results(
    operations: Any, dtype: torch.dtype, compute: torch.dtype, device: str
) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
    """Outputs and all gradients in float64, and running statistics; weights in `dtype`, images in `compute`."""
    weights = {name: weight.to(dtype).requires_grad_() for name, weight in weights_of_a_block(device).items()}
    x = torch.randn(3, 16, 7, 5, generator=torch.Generator().manual_seed(1)).bfloat16().to(device, compute)
    x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    running = [(torch.zeros(40, dtype=dtype, device=device), torch.ones(40, dtype=dtype, device=device)) for _ in "123"]
    y, pooled = block(operations, x, weights, running)
    generator = torch.Generator().manual_seed(2)
    of_y, of_pooled = torch.randn(y.shape, generator=generator), torch.randn(pooled.shape, generator=generator)
    ((y * of_y.to(y)).sum() + (pooled * of_pooled.to(pooled)).sum()).backward()
    results: dict[str, Tensor] = {"y": y.detach(), "pooled": pooled.detach()}
    for name, leaf in {"x": x, **weights}.items():
        assert leaf.grad is not None, name
        results[f"gradient of {name}"] = leaf.grad
    return {name: value.double() for name, value in results.items()}, running


# Of a whole block, relative to the norm of the whole tensor. Batch norm's backward takes differences of sums tens of
# times larger; in bfloat16, about ten tensors are rounded one after the other, each by up to 2^-8.
BLOCK_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}


@pytest.mark.usefixtures("poisoned_memory")
class OperationsContract:
    """Of `kernels.operations.Operations`, over a backend's primitives."""

    def test_a_block_gives_the_outputs_and_gradients_of_the_plain_operations(
        self, operations: Any, dtype: torch.dtype, device: str
    ) -> None:
        actual, running = block_results(operations, torch.float32, dtype, device)
        expected, exact_running = block_results(reference, torch.float64, torch.float64, device)
        tolerance = BLOCK_TOLERANCE[dtype]
        off = {
            name: float((actual[name] - value).norm() / value.norm())
            for name, value in expected.items()
            if not float((actual[name] - value).norm()) <= tolerance * float(value.norm())
        }
        assert not off
        for mine, exact in zip(running, exact_running, strict=True):
            for statistic, other in zip(mine, exact, strict=True):
                torch.testing.assert_close(statistic.double(), other, rtol=tolerance, atol=tolerance)

    @pytest.mark.parametrize("kernel", [3, 5, 7])
    def test_kernels_of_a_depthwise_convolution_are_cut_and_transformed(
        self, kernel: int, operations: Any, dtype: torch.dtype, device: str
    ) -> None:
        weight = odd_sixteenths(13, 1, 7, 7, seed=1, device=device)
        matrices = [odd_sixteenths(size**2, size**2, seed=size, device=device) / size for size in (5, 3)]

        def mine(raw: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, *matrices: Tensor) -> Sequence[Tensor]:
            transforms = dict(zip(("7to5", "5to3"), matrices, strict=True))
            operand = Normalised(raw, scale, shift, "h_swish")
            y, moments = operations.depthwise_conv(operand, weight, kernel, 2, transforms)
            return y, moments / y[:, 0].numel()

        def plain(raw: Tensor, scale: Tensor, shift: Tensor, weight: Tensor, *matrices: Tensor) -> Sequence[Tensor]:
            transforms = dict(zip(("7to5", "5to3"), matrices, strict=True))
            y = reference.depthwise_conv(activated(raw, scale, shift, "h_swish"), weight, kernel, 2, transforms)
            return y, moments_of(y)

        check([*raw_scale_shift(2, 8, 7, device, dtype), weight, *matrices], mine, plain)

    @pytest.mark.parametrize("activated_before", [False, True])
    def test_a_pointwise_convolution_takes_a_tensor_as_well_as_what_batch_norm_gave(
        self, activated_before: bool, operations: Any, dtype: torch.dtype, device: str
    ) -> None:
        weight = odd_sixteenths(20, 24, 1, 1, seed=1, device=device)

        def mine(raw: Tensor, scale: Tensor, shift: Tensor, weight: Tensor) -> Sequence[Tensor]:
            operand = Normalised(raw, scale, shift, "relu") if activated_before else raw
            y, moments = operations.pointwise_conv(operand, weight, 17)
            return y, moments / y[:, 0].numel()

        def plain(raw: Tensor, scale: Tensor, shift: Tensor, weight: Tensor) -> Sequence[Tensor]:
            operand = activated(raw, scale, shift, "relu") if activated_before else raw
            y = reference.pointwise_conv(operand, weight, 17)
            return y, moments_of(y)

        check([*raw_scale_shift(2, 22, 3, device, dtype), weight], mine, plain)

    @pytest.mark.parametrize("stride", [1, 2])
    @pytest.mark.parametrize("activation", [None, "relu", "swish"])
    @pytest.mark.parametrize(("kernel", "inputs", "outputs", "side"), [(3, 24, 40, 7), (5, 8, 3, 4), (1, 24, 9, 1)])
    def test_a_dense_convolution_takes_a_tensor_as_well_as_what_batch_norm_gave(
        self,
        kernel: int,
        inputs: int,
        outputs: int,
        side: int,
        activation: str | None,
        stride: int,
        operations: Any,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        """It gives a tensor, of the leading block of its weight, whose gradient is zero elsewhere."""
        weight = odd_sixteenths(outputs + 8, inputs + 8, kernel, kernel, seed=1, device=device)

        def mine(raw: Tensor, scale: Tensor, shift: Tensor, weight: Tensor) -> Sequence[Tensor]:
            operand = raw if activation is None else Normalised(raw, scale, shift, activation)
            y = operations.conv(operand, weight.to(dtype), outputs, stride)
            assert y.dtype == dtype
            assert y.is_contiguous(memory_format=torch.channels_last)
            return (y,)

        def plain(raw: Tensor, scale: Tensor, shift: Tensor, weight: Tensor) -> Sequence[Tensor]:
            operand = raw if activation is None else activated(raw, scale, shift, activation)
            return (F.conv2d(operand, weight[:outputs, :inputs], stride=stride, padding=(kernel - 1) // 2),)

        check([*raw_scale_shift(2, inputs, side, device, dtype), weight], mine, plain)

    @pytest.mark.parametrize("shortcut", [False, True])
    @pytest.mark.parametrize("last", ACTIVATIONS)
    @pytest.mark.parametrize("normalised", [False, True])
    def test_the_sum_at_the_end_of_a_block_may_be_activated(
        self, normalised: bool, last: str, shortcut: bool, operations: Any, dtype: torch.dtype, device: str
    ) -> None:
        """Of what batch norm gave, and of a tensor."""
        beside = images(3, 24, 7, 7, seed=1, device=device, dtype=dtype)
        raw, scale, shift = raw_scale_shift(3, 24, 7, device, dtype)

        def mine(raw: Tensor, scale: Tensor, shift: Tensor, beside: Tensor) -> Sequence[Tensor]:
            x = Normalised(raw, scale, shift, "identity") if normalised else raw
            return (operations.settle(x, beside if shortcut else None, last),)

        def plain(raw: Tensor, scale: Tensor, shift: Tensor, beside: Tensor) -> Sequence[Tensor]:
            total = activated(raw, scale, shift, "identity") if normalised else raw
            return (reference.ACTIVATIONS[last](total + beside if shortcut else total),)

        # To even sixteenths: the sums go beyond all corners, are on none, and need no rounding.
        check([3 * raw, scale, shift, beside - 1 / 16], mine, plain)

    def test_a_block_settles_pools_and_squeezes_a_tensor_too(
        self, operations: Any, dtype: torch.dtype, device: str
    ) -> None:
        parameters = [
            odd_sixteenths(*shape, seed=1, device=device).to(dtype) for shape in ((8, 26), (8,), (26, 8), (26,))
        ]

        def mine(x: Tensor, *parameters: Tensor) -> Sequence[Tensor]:
            excited = operations.squeeze_excite(x, parameters[:2], parameters[2:], 7)
            return operations.settle(x, None), operations.pool(x), excited

        def plain(x: Tensor, *parameters: Tensor) -> Sequence[Tensor]:
            hidden = F.relu(x.mean((2, 3)) @ parameters[0][:7, :24].T + parameters[1][:7])
            gate = ((hidden @ parameters[2][:24, :7].T + parameters[3][:24]) / 6 + 0.5).clamp(0, 1)
            return x, x.mean((2, 3)), x * gate[:, :, None, None]

        check([images(3, 24, 7, 7, seed=0, device=device, dtype=dtype), *parameters], mine, plain)

    @pytest.mark.parametrize("with_shortcut", [False, True])
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize(("batch", "channels", "side"), SIZES)
    def test_the_end_of_a_block(
        self,
        batch: int,
        channels: int,
        side: int,
        activation: str,
        with_shortcut: bool,
        operations: Any,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        beside = images(batch, channels, side, side, seed=1, device=device, dtype=dtype)

        def mine(raw: Tensor, scale: Tensor, shift: Tensor, beside: Tensor) -> Sequence[Tensor]:
            settled = operations.settle(Normalised(raw, scale, shift, activation), beside if with_shortcut else None)
            return (settled,)

        def plain(raw: Tensor, scale: Tensor, shift: Tensor, beside: Tensor) -> Sequence[Tensor]:
            return (activated(raw, scale, shift, activation) + (beside if with_shortcut else 0),)

        check([*raw_scale_shift(batch, channels, side, device, dtype), beside], mine, plain)

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    @pytest.mark.parametrize(("batch", "channels", "side"), SIZES)
    def test_pooling(
        self,
        batch: int,
        channels: int,
        side: int,
        activation: str,
        operations: Any,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        check(
            raw_scale_shift(batch, channels, side, device, dtype),
            lambda raw, scale, shift: [operations.pool(Normalised(raw, scale, shift, activation))],
            lambda raw, scale, shift: [activated(raw, scale, shift, activation).mean((2, 3))],
        )

    @pytest.mark.parametrize("size", [1.0, 8.0])  # the larger weights drive most gates to zero or one
    @pytest.mark.parametrize("activation", ["relu", "h_swish", "swish"])
    @pytest.mark.parametrize(("batch", "channels", "side", "reduced"), [(1, 8, 1, 8), (3, 24, 7, 8), (2, 100, 3, 24)])
    def test_squeeze_excite(
        self,
        batch: int,
        channels: int,
        side: int,
        reduced: int,
        activation: str,
        size: float,
        operations: Any,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        shapes = ((reduced + 2, channels + 4), (reduced + 2,), (channels + 4, reduced + 2), (channels + 4,))
        # Sums of about the same size for any number of channels: what cancels leaves no digits in float32.
        sizes = [size / shape[-1] ** 0.5 for shape in shapes]
        given = [odd_sixteenths(*shape, seed=seed, device=device) * sizes[seed] for seed, shape in enumerate(shapes)]

        def mine(raw: Tensor, scale: Tensor, shift: Tensor, *parameters: Tensor) -> Sequence[Tensor]:
            operand = Normalised(raw, scale, shift, activation)
            return (operations.squeeze_excite(operand, parameters[:2], parameters[2:], reduced),)

        def plain(raw: Tensor, scale: Tensor, shift: Tensor, *parameters: Tensor) -> Sequence[Tensor]:
            operand = activated(raw, scale, shift, activation)
            hidden = F.relu(operand.mean((2, 3)) @ parameters[0][:reduced, :channels].T + parameters[1][:reduced])
            gate = ((hidden @ parameters[2][:channels, :reduced].T + parameters[3][:channels]) / 6 + 0.5).clamp(0, 1)
            return (operand * gate[:, :, None, None],)

        check([*raw_scale_shift(batch, channels, side, device, dtype), *given], mine, plain)

    @pytest.mark.parametrize("training", [True, False])
    @pytest.mark.parametrize("kernel", [1, 3])
    def test_batch_norm_of_a_convolution(self, kernel: int, training: bool, operations: Any, device: str) -> None:
        """Normalised output, all gradients, and running statistics of the leading channels; pointwise or dense."""
        x = images(3, 8, 5, 5, seed=0, device=device, dtype=torch.float32)
        weight = odd_sixteenths(24, 8, kernel, kernel, seed=0, device=device)
        gamma, beta, mean, variance = (odd_sixteenths(30, seed=seed, device=device).abs() for seed in range(4))
        running, exact = (mean.clone(), variance.clone()), [each[:20].double() for each in (mean, variance)]

        def mine(x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor) -> Sequence[Tensor]:
            y = operations.pointwise_conv(x, weight, 20) if kernel == 1 else operations.conv(x, weight, 20, 2)
            y = operations.batch_norm(y, gamma, beta, running, training, 0.1, 1e-5, "swish")
            return (operations.settle(y, None),)

        def plain(x: Tensor, weight: Tensor, gamma: Tensor, beta: Tensor) -> Sequence[Tensor]:
            convolved = F.conv2d(x, weight[:20], stride=1 if kernel == 1 else 2, padding=kernel // 2)
            return (F.silu(F.batch_norm(convolved, *exact, gamma[:20], beta[:20], training, 0.1, 1e-5)),)

        check([x, weight, gamma, beta], mine, plain)
        for statistics, before, after in zip(running, (mean, variance), exact, strict=True):
            torch.testing.assert_close(statistics[:20].double(), after, rtol=1e-6, atol=1e-6)
            assert torch.equal(statistics[20:], before[20:])

    def test_the_variance_survives_a_mean_far_larger_than_it(self, operations: Any, device: str) -> None:
        """Sum of squares less square of the sum: in float32 nothing would be left of a variance of 1e-4 beside 1e6."""
        noise = torch.randn(4, 1, 63, 9, generator=torch.Generator().manual_seed(0)) / 128
        x = (1000 + noise).to(device).contiguous(memory_format=torch.channels_last)
        exact_scale = x.double().var(unbiased=False).rsqrt()
        one, zero = torch.ones(1, device=device), torch.zeros(1, device=device)
        kernel = one.view(1, 1, 1, 1)
        for convolved in (
            operations.pointwise_conv(x, kernel, 1),
            operations.depthwise_conv(x, F.pad(kernel, [1] * 4), 3, 1, {}),
        ):
            y = operations.batch_norm(convolved, one, zero, None, True, 0.1, 0.0, "identity")
            torch.testing.assert_close(y.scale.double(), exact_scale[None], rtol=1e-4, atol=0)

    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_what_is_not_a_number_stays_so(self, activation: str, operations: Any, device: str) -> None:
        raw, scale, shift = raw_scale_shift(1, 8, 3, device, torch.float32)
        raw[0, 2, 1, 1] = math.nan
        settled = operations.settle(Normalised(raw, scale, shift, activation), None)
        assert settled[0, 2, 1, 1].isnan()
        assert operations.settle(Normalised(raw, scale, shift, "identity"), raw, activation)[0, 2, 1, 1].isnan()
        weight = odd_sixteenths(5, 8, 1, 1, seed=1, device=device)
        y: Convolved = operations.pointwise_conv(Normalised(raw, scale, shift, activation), weight, 5)
        assert y.raw[0, :, 1, 1].isnan().all()
        assert y.moments.isnan().all()
