"""1×1 convolution as a matrix product over the rows of channels_last activations, and its gradients.

A worker takes every n-th tile of rows and keeps its sums over all of them in registers. It writes one partial of each
sum; the partials are added up in a fixed order, so that results are the same from run to run. Where all input channels
fit in one tile, as in the large early layers, the worker also keeps its block of the weight.
"""

# To a type checker Triton's language is not Python: it knows no loops and branches that compilation resolves.
# pyright: reportArgumentType=false, reportPossiblyUnboundVariable=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.gpu.activation import coefficients, derivative, prologue
from kernels.gpu.launch import bucket, config, empty_images, empty_partials, kernel, parts, rows_of, vector, workers
from kernels.gpu.moments import about_zero, empty_moments, load_gradients
from kernels.primitives import OutputGradient, Prologue

# By bytes of a value: the most channels that are summed over in one tile, and channels per tile where there are more.
# Products of float32 are no matrix instructions: a thread holds whole rows of both operands, and spills longer ones.
WHOLE = {2: 128, 4: 32}
STEP = {2: 64, 4: 32}

FORWARD_BLOCKS = (
    config(8, 2, BLOCK_M=64, BLOCK_N=32),
    config(4, 3, BLOCK_M=64, BLOCK_N=64),
    config(4, 2, BLOCK_M=32, BLOCK_N=32),
    config(4, 3, BLOCK_M=128, BLOCK_N=32),
    config(8, 3, BLOCK_M=128, BLOCK_N=64),
    config(8, 3, BLOCK_M=128, BLOCK_N=128),
    config(8, 3, BLOCK_M=64, BLOCK_N=128),
)
INPUT_GRADIENT_BLOCKS = (  # smaller ones: three tensors are read, and there is more to hold in registers
    config(4, 2, BLOCK_M=64, BLOCK_N=32),
    config(4, 2, BLOCK_M=32, BLOCK_N=32),
    config(4, 3, BLOCK_M=64, BLOCK_N=64),
    config(8, 2, BLOCK_M=128, BLOCK_N=32),
    config(8, 2, BLOCK_M=128, BLOCK_N=64),
    config(8, 2, BLOCK_M=64, BLOCK_N=128),
)
WEIGHT_GRADIENT_BLOCKS = (
    config(4, 3, BLOCK_M=32, BLOCK_O=64, BLOCK_I=32),
    config(4, 3, BLOCK_M=64, BLOCK_O=64, BLOCK_I=64),
    config(4, 4, BLOCK_M=64, BLOCK_O=64, BLOCK_I=32),
    config(4, 3, BLOCK_M=128, BLOCK_O=32, BLOCK_I=64),
    config(8, 3, BLOCK_M=64, BLOCK_O=128, BLOCK_I=64),
    config(8, 3, BLOCK_M=64, BLOCK_O=128, BLOCK_I=128),
    config(4, 2, BLOCK_M=32, BLOCK_O=32, BLOCK_I=32),
)


@triton.jit
def _block(matrix, row, rows, column, columns, stride, dtype: tl.constexpr):
    """A tile [row, column] of the weight, float32 in memory, as an operand of `dtype`; zero outside."""
    inside = (row < rows)[:, None] & (column < columns)[None, :]
    return tl.load(matrix + row[:, None] * stride + column[None, :], inside, 0.0).to(dtype)


@triton.jit
def _input(x, scales, shifts, row, rows, channel, channels, ACTIVATION: tl.constexpr):
    """A tile [row, channel] of the input after its prologue, in x's type. Outside it is finite."""
    inside = (row < rows)[:, None] & (channel < channels)[None, :]
    tile = tl.load(x + row.to(tl.int64)[:, None] * channels + channel[None, :], inside, 0.0)
    return prologue(tile.to(tl.float32), scales, shifts, ACTIVATION).to(tile.dtype)


@triton.jit
def _output_gradient(direct, y, of_sum, of_square, row, rows, channel, channels):
    """A tile [row, channel] of the gradient with that of the moments, in y's type. Outside it is finite."""
    inside = (row < rows)[:, None] & (channel < channels)[None, :]
    offset = row.to(tl.int64)[:, None] * channels + channel[None, :]
    gradient = tl.load(direct + offset, inside, 0.0).to(tl.float32)
    output = tl.load(y + offset, inside, 0.0)
    return (gradient + of_sum + 2 * of_square * output.to(tl.float32)).to(output.dtype)


@kernel(*FORWARD_BLOCKS)
def _forward(
    x,  # [rows, inputs]
    scale,  # [inputs]
    shift,  # [inputs]
    matrix,  # [outputs, inputs], the leading block of the weight's rows of `stride` values
    y,  # [rows, outputs]
    partials,  # [workers, 2, outputs] float64
    rows: int,
    input_vectors: int,
    output_vectors: int,
    stride_vectors: int,
    bucket: int,
    VECTOR: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ALL_INPUTS: tl.constexpr,  # whether they fit in BLOCK_K
    BLOCK_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    inputs, outputs = input_vectors * VECTOR, output_vectors * VECTOR
    stride = stride_vectors * VECTOR
    dtype = y.dtype.element_ty
    worker = tl.program_id(1)
    channel, output = tl.arange(0, BLOCK_K), tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    total, square = tl.zeros([BLOCK_N], tl.float32), tl.zeros([BLOCK_N], tl.float32)
    pivot, count = tl.zeros([BLOCK_N], tl.float32), 0
    if ALL_INPUTS:
        block = tl.trans(_block(matrix, output, outputs, channel, inputs, stride, dtype))
        scales, shifts = coefficients(scale, shift, channel, inputs, ACTIVATION)
    for first in range(worker * BLOCK_M, rows, tl.num_programs(1) * BLOCK_M):
        row = first + tl.arange(0, BLOCK_M)
        if ALL_INPUTS:
            tile = _input(x, scales, shifts, row, rows, channel, inputs, ACTIVATION)
            accumulator = tl.dot(tile, block, input_precision="ieee")
        else:
            accumulator = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
            for start in range(0, inputs, BLOCK_K):
                k = start + channel
                scales, shifts = coefficients(scale, shift, k, inputs, ACTIVATION)
                tile = _input(x, scales, shifts, row, rows, k, inputs, ACTIVATION)
                part = tl.trans(_block(matrix, output, outputs, k, inputs, stride, dtype))
                accumulator = tl.dot(tile, part, accumulator, input_precision="ieee")
        stored = accumulator.to(dtype)
        inside = (row < rows)[:, None] & (output < outputs)[None, :]
        tl.store(y + row.to(tl.int64)[:, None] * outputs + output[None, :], stored, inside)
        value = stored.to(tl.float32)
        height = tl.minimum(rows - first, BLOCK_M)
        if count == 0:
            pivot = tl.sum(tl.where(inside, value, 0.0), 0) / height
        distance = tl.where(inside, value - pivot[None, :], 0.0)
        total += tl.sum(distance, 0)
        square += tl.sum(distance * distance, 0)
        count += height
    sums, squares = about_zero(pivot, count, total, square)
    partial = partials + worker * 2 * outputs + output
    tl.store(partial, sums, output < outputs)
    tl.store(partial + outputs, squares, output < outputs)


@kernel(*INPUT_GRADIENT_BLOCKS)
def _input_gradient(
    direct,  # [rows, outputs]
    y,  # [rows, outputs]
    moments,  # [2, outputs] float64
    x,  # [rows, inputs]
    scale,  # [inputs]
    shift,  # [inputs]
    matrix,  # [outputs, inputs], the leading block of the weight's rows of `stride` values
    of_x,  # [rows, inputs]
    partials,  # [workers, 2, inputs]: gradients of scale and shift
    rows: int,
    input_vectors: int,
    output_vectors: int,
    stride_vectors: int,
    bucket: int,
    VECTOR: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ALL_OUTPUTS: tl.constexpr,  # whether they fit in BLOCK_K
    BLOCK_K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    inputs, outputs = input_vectors * VECTOR, output_vectors * VECTOR
    stride = stride_vectors * VECTOR
    dtype = of_x.dtype.element_ty
    worker = tl.program_id(1)
    output, channel = tl.arange(0, BLOCK_K), tl.program_id(0) * BLOCK_N + tl.arange(0, BLOCK_N)
    scales, shifts = coefficients(scale, shift, channel, inputs, ACTIVATION)
    of_scale, of_shift = tl.zeros([BLOCK_N], tl.float32), tl.zeros([BLOCK_N], tl.float32)
    if ALL_OUTPUTS:
        block = _block(matrix, output, outputs, channel, inputs, stride, dtype)
        of_sum, of_square = load_gradients(moments, output, outputs)
    for first in range(worker * BLOCK_M, rows, tl.num_programs(1) * BLOCK_M):
        row = first + tl.arange(0, BLOCK_M)
        if ALL_OUTPUTS:
            tile = _output_gradient(direct, y, of_sum, of_square, row, rows, output, outputs)
            gradient = tl.dot(tile, block, input_precision="ieee")
        else:
            gradient = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
            for start in range(0, outputs, BLOCK_K):
                k = start + output
                of_sum, of_square = load_gradients(moments, k, outputs)
                tile = _output_gradient(direct, y, of_sum, of_square, row, rows, k, outputs)
                part = _block(matrix, k, outputs, channel, inputs, stride, dtype)
                gradient = tl.dot(tile, part, gradient, input_precision="ieee")
        inside = (row < rows)[:, None] & (channel < inputs)[None, :]
        offset = row.to(tl.int64)[:, None] * inputs + channel[None, :]
        if ACTIVATION is not None:
            raw = tl.load(x + offset, inside, 0.0).to(tl.float32)
            gradient = tl.where(inside, gradient * derivative(raw * scales + shifts, ACTIVATION), 0.0)
            of_scale += tl.sum(gradient * raw, 0)
            of_shift += tl.sum(gradient, 0)
            gradient *= scales
        tl.store(of_x + offset, gradient.to(dtype), inside)
    if ACTIVATION is not None:
        partial = partials + worker * 2 * inputs + channel
        tl.store(partial, of_scale, channel < inputs)
        tl.store(partial + inputs, of_shift, channel < inputs)


@kernel(*WEIGHT_GRADIENT_BLOCKS)
def _weight_gradient(
    direct,  # [rows, outputs]
    y,  # [rows, outputs]
    moments,  # [2, outputs] float64
    x,  # [rows, inputs]
    scale,  # [inputs]
    shift,  # [inputs]
    partials,  # [workers, outputs, inputs]
    rows: int,
    input_vectors: int,
    output_vectors: int,
    bucket: int,
    VECTOR: tl.constexpr,
    ACTIVATION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_O: tl.constexpr,
    BLOCK_I: tl.constexpr,
):
    inputs, outputs = input_vectors * VECTOR, output_vectors * VECTOR
    worker = tl.program_id(2)
    channel = tl.program_id(0) * BLOCK_I + tl.arange(0, BLOCK_I)
    output = tl.program_id(1) * BLOCK_O + tl.arange(0, BLOCK_O)
    of_sum, of_square = load_gradients(moments, output, outputs)
    scales, shifts = coefficients(scale, shift, channel, inputs, ACTIVATION)
    accumulator = tl.zeros([BLOCK_O, BLOCK_I], tl.float32)
    for first in range(worker * BLOCK_M, rows, tl.num_programs(2) * BLOCK_M):
        row = first + tl.arange(0, BLOCK_M)
        gradient = _output_gradient(direct, y, of_sum, of_square, row, rows, output, outputs)
        gradient = tl.where((row < rows)[:, None], gradient, 0.0)
        tile = _input(x, scales, shifts, row, rows, channel, inputs, ACTIVATION)
        accumulator = tl.dot(tl.trans(gradient), tile, accumulator, input_precision="ieee")
    inside = (output < outputs)[:, None] & (channel < inputs)[None, :]
    offset = (worker.to(tl.int64) * outputs + output[:, None]) * inputs + channel[None, :]
    tl.store(partials + offset, accumulator, inside)


def forward(x: Tensor, prologue: Prologue | None, weight: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
    """See `Primitives.pointwise`."""
    rows, (_, inputs, height, width) = rows_of(x), x.shape
    assert weight.stride(1) == 1
    scale, shift, activation = parts(prologue)
    lanes = vector(inputs, outputs, weight.stride(0))
    y = empty_images(x, outputs, height, width)
    partials = empty_moments(x, workers(rows, 128, triton.cdiv(outputs, 32)), outputs)
    _forward[lambda meta: (triton.cdiv(outputs, meta["BLOCK_N"]), len(partials))](
        x,
        scale,
        shift,
        weight,
        y,
        partials,
        rows,
        inputs // lanes,
        outputs // lanes,
        weight.stride(0) // lanes,
        bucket(rows, inputs, outputs),
        VECTOR=lanes,
        ACTIVATION=activation,
        **_summed(inputs, x, "ALL_INPUTS"),
    )
    return y, partials.sum(0)


def backward(
    gradient: OutputGradient, x: Tensor, prologue: Prologue | None, weight: Tensor
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """See `Primitives.pointwise_backward`."""
    rows, inputs, outputs = rows_of(x), x.shape[1], gradient.y.shape[1]
    assert weight.stride(1) == 1
    scale, shift, activation = parts(prologue)
    lanes = vector(inputs, outputs, weight.stride(0))
    sizes = inputs // lanes, outputs // lanes
    place = bucket(rows, inputs, outputs)
    of_x = torch.empty_like(x)
    partials = empty_partials(x, workers(rows, 128, triton.cdiv(inputs, 32)), 2, inputs)
    _input_gradient[lambda meta: (triton.cdiv(inputs, meta["BLOCK_N"]), len(partials))](
        *gradient,
        x,
        scale,
        shift,
        weight,
        of_x,
        partials,
        rows,
        *sizes,
        weight.stride(0) // lanes,
        place,
        VECTOR=lanes,
        ACTIVATION=activation,
        **_summed(outputs, x, "ALL_OUTPUTS"),
    )
    # Fewer workers than elsewhere: each leaves a whole matrix behind.
    splits = max(1, min(triton.cdiv(rows, 512), 512 // (triton.cdiv(inputs, 64) * triton.cdiv(outputs, 64))))
    products = empty_partials(x, splits, outputs, inputs)
    _weight_gradient[
        lambda meta: (triton.cdiv(inputs, meta["BLOCK_I"]), triton.cdiv(outputs, meta["BLOCK_O"]), splits)
    ](*gradient, x, scale, shift, products, rows, *sizes, place, VECTOR=lanes, ACTIVATION=activation)
    of_weight = torch.zeros_like(weight)
    torch.sum(products, 0, out=of_weight[:outputs, :inputs, 0, 0])
    if prologue is None:
        return of_x, None, None, of_weight
    of_scale, of_shift = partials.sum(0, dtype=torch.float64).float()
    return of_x, of_scale, of_shift, of_weight


def _summed(channels: int, x: Tensor, whether_all: str) -> dict[str, int | bool]:
    """How the channels that a product of values like x's sums over are cut into tiles."""
    if channels > WHOLE[x.element_size()]:
        return {whether_all: False, "BLOCK_K": STEP[x.element_size()]}
    return {whether_all: True, "BLOCK_K": max(16, triton.next_power_of_2(channels))}
