"""Operands that are exact in bfloat16, never zero, and on no corner of an activation; and how near is near enough.

Normalised values are odd multiples of 2^-8: where an activation has a corner, at 0, ±3 and 6, none lies, so that
rounding puts none on another side of it than float64 does.
"""

import torch
from torch import Tensor

from kernels import reference
from kernels.primitives import Prologue

ACTIVATIONS = tuple(reference.ACTIVATIONS)
# Of a channel's root mean square, so that one wrong pixel of one channel is seen. In float32 an output sums up to a
# thousand products: 2e-5 is 160 roundings. In bfloat16 the inputs are exact; weight, activated input and output are
# rounded, each by up to 2^-8 of its value, and a value may be several times the root mean square: 2^-4 is two roundings
# of eight times. A wrong tap or pixel is off by about one.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2**-4}


def random(*shape: int, seed: int, device: str) -> Tensor:
    """Of the normal distribution, float32."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape))).to(device)


def odd_sixteenths(*shape: int, seed: int, device: str) -> Tensor:
    """Odd multiples of 1/16 between −2 and 2, float32."""
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return ((2 * torch.randint(-16, 16, shape, generator=generator) + 1) / 16).to(device)


def images(*shape: int, seed: int, device: str, dtype: torch.dtype) -> Tensor:
    """Odd sixteenths, channels_last."""
    out = odd_sixteenths(*shape, seed=seed, device=device).to(dtype)
    return out.contiguous(memory_format=torch.channels_last)


def prologue_of(channels: int, activation: str, device: str) -> Prologue:
    """Odd sixteenths as scale, quarters as shift."""
    shift = torch.arange(channels, device=device) % 7 / 4 - 0.75
    return Prologue(odd_sixteenths(channels, seed=5, device=device), shift, activation)


def exact_leaves(*tensors: Tensor) -> list[Tensor]:
    """In float64."""
    return [tensor.double().detach().requires_grad_() for tensor in tensors]


def activated(x: Tensor, scale: Tensor, shift: Tensor, activation: str) -> Tensor:
    """What a prologue makes of x [N, C, H, W]."""
    return reference.ACTIVATIONS[activation](x * scale[:, None, None] + shift[:, None, None])


def assert_close(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """Channel by channel where there are images, over the whole otherwise; `dtype` is that of the activations."""
    assert actual.shape == expected.shape
    error = (actual.detach().double() - expected.detach()).abs()
    dims = (0, 2, 3) if expected.dim() == 4 and expected.shape[2:] != (1, 1) else tuple(range(expected.dim()))
    # A channel far below the others may be what is left of larger ones, by cancellation.
    squares = expected.detach().square()
    scale = squares.mean(dims, keepdim=True).sqrt().clamp(min=0.3 * squares.mean().sqrt())
    assert (error <= TOLERANCE[dtype] * scale).all(), f"off by {(error / scale).max().item():.1e}"
