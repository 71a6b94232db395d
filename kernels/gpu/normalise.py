"""Passes over channels_last activations that no convolution can take along, one read of each operand in each.

Rows are positions of images; where an operand has one value per image and channel, a tile lies within an image.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.gpu.activation import activate, derivative
from kernels.gpu.launch import bucket, config, empty_partials, kernel, rows_of, vector, workers
from kernels.primitives import Prologue

BLOCKS = (
    config(4, 1, BLOCK_M=32, BLOCK_C=32),
    config(4, 1, BLOCK_M=32, BLOCK_C=64),
    config(4, 1, BLOCK_M=64, BLOCK_C=64),
    config(4, 1, BLOCK_M=16, BLOCK_C=128),
    config(8, 1, BLOCK_M=64, BLOCK_C=32),
)


@triton.jit
def _load_all(vector, channel, channels):
    return tl.load(vector + channel, channel < channels, 0.0)


@kernel(*BLOCKS)
def _apply(
    x,  # [images, positions, channels]
    scale,  # [channels]
    shift,  # [channels]
    gate,  # [images, channels] or None
    shortcut,  # like x, or None
    y,  # like x
    positions: int,
    vectors: int,
    bucket: int,
    VECTOR: tl.constexpr,
    ACTIVATION: tl.constexpr,
    LAST: tl.constexpr,  # activation of the sum
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    channels = vectors * VECTOR
    across = tl.cdiv(channels, BLOCK_C)
    tile, blocks = tl.program_id(0) // across, tl.cdiv(positions, BLOCK_M)
    channel = tl.program_id(0) % across * BLOCK_C + tl.arange(0, BLOCK_C)
    image, position = tile // blocks, tile % blocks * BLOCK_M + tl.arange(0, BLOCK_M)
    inside = (position < positions)[:, None] & (channel < channels)[None, :]
    offset = (image * positions + position).to(tl.int64)[:, None] * channels + channel[None, :]
    raw = tl.load(x + offset, inside, 0.0).to(tl.float32)
    value = activate(raw * _load_all(scale, channel, channels) + _load_all(shift, channel, channels), ACTIVATION)
    if gate is not None:
        value *= _load_all(gate + image * channels, channel, channels)
    if shortcut is not None:
        value += tl.load(shortcut + offset, inside, 0.0).to(tl.float32)
    tl.store(y + offset, activate(value, LAST).to(y.dtype.element_ty), inside)


@kernel(*BLOCKS)
def _apply_backward(
    output,  # like x, or None
    gate,  # [images, channels] or None
    pooled,  # [images, channels] or None
    x,  # [images, positions, channels]
    scale,  # [channels]
    shift,  # [channels]
    shortcut,  # like x, or None
    of_x,  # like x
    of_sum,  # like x, or None where the sum has no activation
    partials,  # [workers, 2, channels]: gradients of scale and shift
    images: int,
    positions: int,
    vectors: int,
    bucket: int,
    VECTOR: tl.constexpr,
    ACTIVATION: tl.constexpr,
    LAST: tl.constexpr,  # activation of the sum
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    channels = vectors * VECTOR
    worker = tl.program_id(1)
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    scales, shifts = _load_all(scale, channel, channels), _load_all(shift, channel, channels)
    of_scale, of_shift = tl.zeros([BLOCK_M, BLOCK_C], tl.float32), tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    blocks = tl.cdiv(positions, BLOCK_M)
    for tile in range(worker, images * blocks, tl.num_programs(1)):
        image, position = tile // blocks, tile % blocks * BLOCK_M + tl.arange(0, BLOCK_M)
        inside = (position < positions)[:, None] & (channel < channels)[None, :]
        offset = (image * positions + position).to(tl.int64)[:, None] * channels + channel[None, :]
        raw = tl.load(x + offset, inside, 0.0).to(tl.float32)
        gradient = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
        if output is not None:
            gradient += tl.load(output + offset, inside, 0.0).to(tl.float32)
            if of_sum is not None:
                total = activate(raw * scales + shifts, ACTIVATION)
                if gate is not None:
                    total *= _load_all(gate + image * channels, channel, channels)
                if shortcut is not None:
                    total += tl.load(shortcut + offset, inside, 0.0).to(tl.float32)
                gradient *= derivative(total, LAST)
                tl.store(of_sum + offset, gradient.to(of_sum.dtype.element_ty), inside)
            if gate is not None:
                gradient *= _load_all(gate + image * channels, channel, channels)
        if pooled is not None:
            gradient += _load_all(pooled + image * channels, channel, channels) / positions
        gradient = tl.where(inside, gradient * derivative(raw * scales + shifts, ACTIVATION), 0.0)
        of_scale += gradient * raw
        of_shift += gradient
        tl.store(of_x + offset, (gradient * scales).to(of_x.dtype.element_ty), inside)
    partial = partials + worker * 2 * channels + channel
    tl.store(partial, tl.sum(of_scale, 0), channel < channels)
    tl.store(partial + channels, tl.sum(of_shift, 0), channel < channels)


@kernel(*BLOCKS)
def _sum_positions(
    output,  # like x, or None for one
    x,  # [images, positions, channels]
    scale,  # [channels]
    shift,  # [channels]
    sums,  # [images, channels]
    factor: float,
    positions: int,
    vectors: int,
    bucket: int,
    VECTOR: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    channels = vectors * VECTOR
    image = tl.program_id(1)
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    scales, shifts = _load_all(scale, channel, channels), _load_all(shift, channel, channels)
    total = tl.zeros([BLOCK_M, BLOCK_C], tl.float32)
    for first in range(0, positions, BLOCK_M):
        position = first + tl.arange(0, BLOCK_M)
        inside = (position < positions)[:, None] & (channel < channels)[None, :]
        offset = (image * positions + position).to(tl.int64)[:, None] * channels + channel[None, :]
        value = activate(tl.load(x + offset, inside, 0.0).to(tl.float32) * scales + shifts, ACTIVATION)
        if output is not None:
            value *= tl.load(output + offset, inside, 0.0).to(tl.float32)
        total += tl.where(inside, value, 0.0)
    tl.store(sums + image * channels + channel, tl.sum(total, 0) * factor, channel < channels)


def apply(x: Tensor, prologue: Prologue, gate: Tensor | None, shortcut: Tensor | None, activation: str) -> Tensor:
    """See `Primitives.apply`."""
    rows, channels, lanes = rows_of(x), x.shape[1], vector(x.shape[1])
    # Without a gate, images need no telling apart.
    images = 1 if gate is None else x.shape[0]
    positions = rows // images
    y = torch.empty_like(x)
    _apply[lambda meta: (images * triton.cdiv(positions, meta["BLOCK_M"]) * triton.cdiv(channels, meta["BLOCK_C"]),)](
        x,
        prologue.scale,
        prologue.shift,
        gate,
        shortcut,
        y,
        positions,
        channels // lanes,
        bucket(rows, positions, channels),
        VECTOR=lanes,
        ACTIVATION=prologue.activation,
        LAST=activation,
    )
    return y


def apply_backward(
    output: Tensor | None,
    gate: Tensor | None,
    pooled: Tensor | None,
    x: Tensor,
    prologue: Prologue,
    shortcut: Tensor | None,
    activation: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """See `Primitives.apply_backward`."""
    rows, channels, lanes = rows_of(x), x.shape[1], vector(x.shape[1])
    images = 1 if gate is None and pooled is None else x.shape[0]
    positions = rows // images
    of_x, of_sum = torch.empty_like(x), None if activation == "identity" else torch.empty_like(x)
    partials = empty_partials(x, workers(rows, 128, triton.cdiv(channels, 32)), 2, channels)
    _apply_backward[lambda meta: (triton.cdiv(channels, meta["BLOCK_C"]), len(partials))](
        output,
        gate,
        pooled,
        x,
        prologue.scale,
        prologue.shift,
        shortcut,
        of_x,
        of_sum,
        partials,
        images,
        positions,
        channels // lanes,
        bucket(rows, positions, channels),
        VECTOR=lanes,
        ACTIVATION=prologue.activation,
        LAST=activation,
    )
    of_scale, of_shift = partials.sum(0, dtype=torch.float64).float()
    return of_x, of_scale, of_shift, of_sum


def pool(x: Tensor, prologue: Prologue) -> Tensor:
    """See `Primitives.pool`."""
    return _sums(None, x, prologue, 1 / (x.shape[2] * x.shape[3]))


def gate_gradient(output: Tensor, x: Tensor, prologue: Prologue) -> Tensor:
    """See `Primitives.gate_gradient`."""
    return _sums(output, x, prologue, 1.0)


def _sums(output: Tensor | None, x: Tensor, prologue: Prologue, factor: float) -> Tensor:
    """factor · sum over H and W of output · prologue(x): [N, C] float32."""
    rows, (images, channels, height, width) = rows_of(x), x.shape
    lanes = vector(channels)
    sums = empty_partials(x, images, channels)
    _sum_positions[lambda meta: (triton.cdiv(channels, meta["BLOCK_C"]), images)](
        output,
        x,
        prologue.scale,
        prologue.shift,
        sums,
        factor,
        height * width,
        channels // lanes,
        bucket(rows, height * width, channels),
        VECTOR=lanes,
        ACTIVATION=prologue.activation,
    )
    return sums
