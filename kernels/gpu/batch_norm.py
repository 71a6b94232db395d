"""Batch norm's scale and shift from the moments of what it normalises, and their gradients: one launch each way.

Vectors over channels, in float64 until they are stored.
"""

# In a kernel a parameter annotated `int` is a tensor, which a type checker does not know.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.gpu.launch import untuned_kernel

BLOCK_C = 128  # channels of a program


@triton.jit
def _statistics(moments, channel, channels, count, epsilon):
    """Mean, variance and 1 / sqrt(variance + epsilon) of some channels. A variance that is not a number stays so."""
    inside = channel < channels
    mean = tl.load(moments + channel, inside, 0.0) / count
    variance = tl.load(moments + channels + channel, inside, 1.0) / count - mean * mean  # beyond the last: not zero
    variance = tl.where(variance < 0, 0.0, variance)  # rounding must not make it negative
    return mean, variance, 1 / tl.sqrt(variance + epsilon)


@triton.jit
def _move(running, batch, momentum, channel, inside):
    """Move the running statistic of some channels towards the batch's."""
    before = tl.load(running + channel, inside, 0.0)
    tl.store(running + channel, before + momentum * (batch.to(tl.float32) - before), inside)


@untuned_kernel
def _forward(
    moments,  # [2, channels] float64
    weight,  # [channels or more]
    bias,  # [channels or more]
    running_mean,  # [channels or more], or None
    running_variance,  # [channels or more], or None
    scale,  # [channels]
    shift,  # [channels]
    channels: int,
    count: int,
    epsilon: float,
    momentum: float,
    BLOCK_C: tl.constexpr,
):
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside, number = channel < channels, count.to(tl.float64)
    mean, variance, inverse_deviation = _statistics(moments, channel, channels, number, epsilon)
    factor = tl.load(weight + channel, inside, 0.0) * inverse_deviation
    tl.store(scale + channel, factor.to(tl.float32), inside)
    offset = tl.load(bias + channel, inside, 0.0) - mean * factor
    tl.store(shift + channel, offset.to(tl.float32), inside)
    if running_mean is not None:
        _move(running_mean, mean, momentum, channel, inside)
        _move(running_variance, variance * number / tl.maximum(number - 1, 1.0), momentum, channel, inside)


@untuned_kernel
def _backward(
    of_scale,  # [channels]
    of_shift,  # [channels]
    moments,  # [2, channels] float64
    weight,  # [every]
    of_moments,  # [2, channels] float64
    of_weight,  # [every]
    of_bias,  # [every]
    channels: int,
    every: int,
    count: int,
    epsilon: float,
    BLOCK_C: tl.constexpr,
):
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    inside, number = channel < channels, count.to(tl.float64)
    mean, _, inverse_deviation = _statistics(moments, channel, channels, number, epsilon)
    scales, shifts = tl.load(of_scale + channel, inside, 0.0), tl.load(of_shift + channel, inside, 0.0)
    factor = tl.load(weight + channel, inside, 0.0) * inverse_deviation
    slope = (scales - mean * shifts) * inverse_deviation
    of_variance = -0.5 * inverse_deviation * factor * slope
    of_mean = -factor * shifts - 2 * mean * of_variance
    tl.store(of_moments + channel, of_mean / number, inside)
    tl.store(of_moments + channels + channel, of_variance / number, inside)
    tl.store(of_weight + channel, slope.to(tl.float32), channel < every)
    tl.store(of_bias + channel, shifts, channel < every)


def forward(
    moments: Tensor,
    count: int,
    weight: Tensor,
    bias: Tensor,
    epsilon: float,
    running: tuple[Tensor, Tensor] | None,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    """See `Primitives.batch_norm`."""
    channels = moments.shape[1]
    scale, shift = (torch.empty(channels, dtype=torch.float32, device=moments.device) for _ in range(2))
    _forward[(triton.cdiv(channels, BLOCK_C),)](
        moments,
        weight,
        bias,
        *(running or (None, None)),
        scale,
        shift,
        channels,
        count,
        epsilon,
        momentum,
        BLOCK_C=BLOCK_C,
        enable_fp_fusion=True,
    )
    return scale, shift


def backward(
    of_scale: Tensor, of_shift: Tensor, moments: Tensor, count: int, weight: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `Primitives.batch_norm_backward`."""
    channels, every = moments.shape[1], len(weight)
    of_moments, of_weight, of_bias = torch.empty_like(moments), torch.empty_like(weight), torch.empty_like(weight)
    _backward[(triton.cdiv(every, BLOCK_C),)](
        of_scale,
        of_shift,
        moments,
        weight,
        of_moments,
        of_weight,
        of_bias,
        channels,
        every,
        count,
        epsilon,
        BLOCK_C=BLOCK_C,
        enable_fp_fusion=True,
    )
    return of_moments, of_weight, of_bias
