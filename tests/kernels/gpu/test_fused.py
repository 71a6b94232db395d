"""A block of the network through the autograd layer and the kernels, against the plain operations in float64."""

from typing import Any

import pytest
import torch
from torch import Tensor

from kernels import reference
from kernels.fused import FusedOperations
from kernels.gpu.primitives import TritonPrimitives
from tests.kernels.moments import assert_the_variance_survives_a_mean_far_larger_than_it

fused = FusedOperations(TritonPrimitives(), "triton")
MOMENTUM, EPSILON = 0.1, 1e-5


def parameters(device: str) -> dict[str, Tensor]:
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


def block(operations: Any, x: Tensor, weights: dict[str, Tensor], running: list[Any]) -> tuple[Tensor, Tensor]:
    """Expand, depthwise 5×5, squeeze-and-excite, project, shortcut; and the pooled output of the expansion."""

    def norm(y: Any, index: int, activation: str) -> Any:
        gamma, beta = weights[f"gamma{index}"], weights[f"beta{index}"]
        return operations.batch_norm(y, gamma, beta, running[index], True, MOMENTUM, EPSILON, activation)

    expanded = norm(operations.pointwise_conv(x, weights["expand"], 24), 0, "relu")
    pooled = operations.pool(expanded)
    y = operations.depthwise_conv(expanded, weights["depthwise"], 5, 1, {"7to5": weights["7to5"]})
    y = norm(y, 1, "h_swish")
    reduce, excite = (weights["reduce"], weights["reduce_bias"]), (weights["excite"], weights["excite_bias"])
    y = operations.squeeze_excite(y, reduce, excite, 8)
    y = norm(operations.pointwise_conv(y, weights["project"], 16), 2, "identity")
    return operations.settle(y, x), pooled


def gradients(
    operations: Any, dtype: torch.dtype, compute: torch.dtype, device: str
) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
    """Outputs and all gradients in float64, and running statistics; weights in `dtype`, images in `compute`."""
    weights = {name: weight.to(dtype).requires_grad_() for name, weight in parameters(device).items()}
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


@pytest.mark.parametrize(
    ("compute", "tolerance"),
    # Relative to the norm of the whole tensor. Batch norm's backward takes differences of sums tens of times larger; in
    # bfloat16, about ten tensors are rounded one after the other, each by up to 2^-8.
    [(torch.float32, 1e-4), (torch.bfloat16, 5e-2)],
    ids=["float32", "bfloat16"],
)
def test_a_block_gives_the_outputs_and_gradients_of_the_plain_operations(
    compute: torch.dtype, tolerance: float, device: str
) -> None:
    actual, running = gradients(fused, torch.float32, compute, device)
    expected, exact_running = gradients(reference, torch.float64, torch.float64, device)
    off = {
        name: float((actual[name] - value).norm() / value.norm())
        for name, value in expected.items()
        if not float((actual[name] - value).norm()) <= tolerance * float(value.norm())
    }
    assert not off
    for mine, exact in zip(running, exact_running, strict=True):
        for statistic, other in zip(mine, exact, strict=True):
            torch.testing.assert_close(statistic.double(), other, rtol=tolerance, atol=tolerance)


def test_the_variance_survives_a_mean_far_larger_than_it(device: str) -> None:
    assert_the_variance_survives_a_mean_far_larger_than_it(fused, device)
