"""Depthwise convolution, directly on channels_last activations, and its gradients in one pass.

Each thread walks down a strip of some columns of an image, for one channel or a few neighbours. Its registers hold the
kernel and a window of KERNEL rows of the strip and its surroundings, from which all taps read: a value is read once per
strip, and its prologue applied once. What neighbouring strips read twice comes from the caches. A worker takes every
n-th block of strips and keeps the kernel, and its sums over all of them, in registers. It writes one partial of each
sum; the partials are added up in a fixed order, so that results are the same from run to run.
"""

# To a type checker Triton's language is not Python: it knows no loops and branches that compilation resolves.
# pyright: reportGeneralTypeIssues=false, reportArgumentType=false, reportOperatorIssue=false

from __future__ import annotations

from collections.abc import Mapping

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.gpu.activation import coefficients, derivative, prologue
from kernels.gpu.launch import bucket, config, empty_images, empty_partials, kernel, parts, rows_of, vector, workers
from kernels.gpu.moments import about_zero, empty_moments, load_gradients
from kernels.gpu.window import activated, load_patch, load_taps, place_strips, strip_height, with_moments
from kernels.primitives import OutputGradient, Prologue

# A strip is at most ROWS × COLUMNS, both even for stride 2.
FORWARD_BLOCKS = (
    config(4, 1, ROWS=4, COLUMNS=2, BLOCK_P=16, BLOCK_C=32),
    config(4, 1, ROWS=14, COLUMNS=4, BLOCK_P=8, BLOCK_C=32),
    config(4, 1, ROWS=14, COLUMNS=4, BLOCK_P=4, BLOCK_C=32),
    config(4, 1, ROWS=14, COLUMNS=2, BLOCK_P=4, BLOCK_C=64),
    config(4, 1, ROWS=28, COLUMNS=2, BLOCK_P=8, BLOCK_C=16),
)
BACKWARD_BLOCKS = (
    config(4, 1, ROWS=4, COLUMNS=2, BLOCK_P=16, BLOCK_C=32),
    config(4, 1, ROWS=14, COLUMNS=4, BLOCK_P=4, BLOCK_C=32),
    config(4, 1, ROWS=14, COLUMNS=2, BLOCK_P=8, BLOCK_C=32),
    config(4, 1, ROWS=14, COLUMNS=2, BLOCK_P=4, BLOCK_C=32),
    config(4, 1, ROWS=28, COLUMNS=2, BLOCK_P=8, BLOCK_C=16),
)
# Registers decide: of a thread's 255, this many may hold the kernel, the window and, backward, the kernel's gradient.
# The rest goes to addresses, masks and values on their way. Blocks that need more would be slow, and slow to compile.
HELD = 155


def _fits_forward(meta: Mapping[str, int]) -> bool:
    kernel_size, columns = meta["KERNEL"], meta["COLUMNS"]
    window = kernel_size * ((columns - 1) * meta["STRIDE"] + kernel_size)
    return (window + kernel_size**2) * _values_per_thread(meta) <= HELD


def _fits_backward(meta: Mapping[str, int]) -> bool:
    kernel_size, columns = meta["KERNEL"], meta["COLUMNS"]
    window = -(-kernel_size // meta["STRIDE"]) * (kernel_size + columns - 1) // meta["STRIDE"]
    return (window + 2 * kernel_size**2) * _values_per_thread(meta) <= HELD


def _values_per_thread(meta: Mapping[str, int]) -> int:
    return meta["BLOCK_P"] * meta["BLOCK_C"] // (32 * 4)


@kernel(*FORWARD_BLOCKS, fits=_fits_forward)
def _forward(
    x,  # [images, height, width, channels]
    scale,  # [channels]
    shift,  # [channels]
    weight,  # [channels, KERNEL, KERNEL], of any strides
    y,  # [images, height_out, width_out, channels]
    partials,  # [workers, 2, channels] float64
    images: int,
    height: int,
    width: int,
    height_out: int,
    width_out: int,
    vectors: int,
    channel_stride: int,
    row_stride: int,
    column_stride: int,
    bucket: int,
    VECTOR: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    MARGIN: tl.constexpr = KERNEL // 2
    AROUND: tl.constexpr = (COLUMNS - 1) * STRIDE + KERNEL  # columns of the window
    channels = vectors * VECTOR
    worker = tl.program_id(1)
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    active = channel < channels
    taps = load_taps(weight, channel, active, channel_stride, row_stride, column_stride, KERNEL)
    scales, shifts = coefficients(scale, shift, channel, channels, ACTIVATION)
    total, square = tl.zeros([BLOCK_P, BLOCK_C], tl.float32), tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    pivot, count = tl.zeros([BLOCK_P, BLOCK_C], tl.float32), tl.zeros([BLOCK_P, 1], tl.int32)
    tall = strip_height(height_out, ROWS, 1)
    strips = images * tl.cdiv(height_out, tall) * tl.cdiv(width_out, COLUMNS)
    unseen = True
    for first in range(worker * BLOCK_P, strips, tl.num_programs(1) * BLOCK_P):
        image, row, column = place_strips(first, height_out, width_out, tall, BLOCK_P, COLUMNS)
        mask, end = (image < images) & active[None, :], row + tall
        strip = tl.minimum(height_out - row, tall) * tl.minimum(width_out - column, COLUMNS)
        count += tl.where(image < images, strip, 0)
        top, left = row * STRIDE - MARGIN, column * STRIDE - MARGIN
        source = x + ((image * height + top) * width + left).to(tl.int64) * channels + channel[None, :]
        target = y + ((image * height_out + row) * width_out + column).to(tl.int64) * channels + channel[None, :]
        above = load_patch(source, top, left, height, width, channels, mask, KERNEL - STRIDE, AROUND)
        window = activated(above, scales, shifts, top, left, height, width, ACTIVATION, KERNEL - STRIDE, AROUND)
        top += KERNEL - STRIDE
        source += (KERNEL - STRIDE) * width * channels
        coming = load_patch(source, top, left, height, width, channels, mask, STRIDE, AROUND)
        for _step in range(tall):
            window += activated(coming, scales, shifts, top, left, height, width, ACTIVATION, STRIDE, AROUND)
            top += STRIDE
            source += STRIDE * width * channels
            # On their way while this row is computed.
            coming = load_patch(source, top, left, height, width, channels, mask & (row + 1 < end), STRIDE, AROUND)
            for c in tl.static_range(COLUMNS):
                accumulator = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
                for k in tl.static_range(KERNEL):
                    for m in tl.static_range(KERNEL):
                        accumulator += window[k * AROUND + c * STRIDE + m] * taps[k * KERNEL + m]
                stored = accumulator.to(y.dtype.element_ty)
                inside = (row < height_out) & (column + c < width_out) & mask
                tl.store(target + c * channels, stored, inside)
                value = stored.to(tl.float32)
                if c == 0:  # of the first strip's first row it is the pivot
                    pivot = tl.where(unseen, value, pivot)
                    unseen = False
                distance = tl.where(inside, value - pivot, 0.0)
                total += distance
                square += distance * distance
            window = window[STRIDE * AROUND :]
            target += width_out * channels
            row += 1
    sums, squares = about_zero(pivot, count, total, square)
    partial = partials + worker * 2 * channels + channel
    tl.store(partial, tl.sum(sums, 0), active)
    tl.store(partial + channels, tl.sum(squares, 0), active)


@kernel(*BACKWARD_BLOCKS, fits=_fits_backward)
def _backward(
    direct,  # [images, height_out, width_out, channels]
    y,  # [images, height_out, width_out, channels]
    moments,  # [2, channels] float64
    x,  # [images, height, width, channels]
    scale,  # [channels]
    shift,  # [channels]
    weight,  # [channels, KERNEL, KERNEL], of any strides
    of_x,  # [images, height, width, channels]
    partials,  # [workers, 2 + KERNEL², channels]: gradients of scale, shift and weight
    images: int,
    height: int,
    width: int,
    height_out: int,
    width_out: int,
    vectors: int,
    channel_stride: int,
    row_stride: int,
    column_stride: int,
    bucket: int,
    VECTOR: tl.constexpr,
    KERNEL: tl.constexpr,
    STRIDE: tl.constexpr,
    ACTIVATION: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """The strips are of x; the window is of the outputs that read them, with their gradients.

    At a time, STRIDE rows of x are finished. The r-th of them reaches row i of the window by tap
    r + MARGIN - (i - BEFORE) · STRIDE, and columns likewise.
    """
    MARGIN: tl.constexpr = KERNEL // 2
    BEFORE: tl.constexpr = MARGIN // STRIDE  # rows, or columns, of the window that lie before those of x
    DOWN: tl.constexpr = BEFORE + (STRIDE - 1 + MARGIN) // STRIDE + 1
    AROUND: tl.constexpr = BEFORE + (COLUMNS - 1 + MARGIN) // STRIDE + 1
    channels = vectors * VECTOR
    worker = tl.program_id(1)
    channel = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    active = channel < channels
    taps = load_taps(weight, channel, active, channel_stride, row_stride, column_stride, KERNEL)
    scales, shifts = coefficients(scale, shift, channel, channels, ACTIVATION)
    of_sum, of_square = load_gradients(moments, channel, channels)
    of_square *= 2
    of_scale, of_shift = tl.zeros([BLOCK_P, BLOCK_C], tl.float32), tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    of_taps = ()
    for _tap in tl.static_range(KERNEL * KERNEL):
        of_taps += (tl.zeros([BLOCK_P, BLOCK_C], tl.float32),)
    tall = strip_height(height, ROWS, STRIDE)
    strips = images * tl.cdiv(height, tall) * tl.cdiv(width, COLUMNS)
    for first in range(worker * BLOCK_P, strips, tl.num_programs(1) * BLOCK_P):
        image, row, column = place_strips(first, height, width, tall, BLOCK_P, COLUMNS)
        mask, end = (image < images) & active[None, :], row + tall
        top, left = row // STRIDE - BEFORE, column // STRIDE - BEFORE
        source = ((image * height_out + top) * width_out + left).to(tl.int64) * channels + channel[None, :]
        target = ((image * height + row) * width + column).to(tl.int64) * channels + channel[None, :]
        directs = load_patch(direct + source, top, left, height_out, width_out, channels, mask, DOWN - 1, AROUND)
        outputs = load_patch(y + source, top, left, height_out, width_out, channels, mask, DOWN - 1, AROUND)
        window = with_moments(directs, outputs, of_sum, of_square, top, left, height_out, width_out, DOWN - 1, AROUND)
        top += DOWN - 1
        source += (DOWN - 1) * width_out * channels
        directs = load_patch(direct + source, top, left, height_out, width_out, channels, mask, 1, AROUND)
        outputs = load_patch(y + source, top, left, height_out, width_out, channels, mask, 1, AROUND)
        for _step in range(tall // STRIDE):
            window += with_moments(directs, outputs, of_sum, of_square, top, left, height_out, width_out, 1, AROUND)
            top += 1
            source += width_out * channels
            needed = mask & (row + STRIDE < end)
            directs = load_patch(direct + source, top, left, height_out, width_out, channels, needed, 1, AROUND)
            outputs = load_patch(y + source, top, left, height_out, width_out, channels, needed, 1, AROUND)
            for r in tl.static_range(STRIDE):
                for c in tl.static_range(COLUMNS):
                    inside = (row < height) & (column + c < width) & mask
                    raw = tl.load(x + target + c * channels, inside, 0.0).to(tl.float32)
                    value = tl.where(inside, prologue(raw, scales, shifts, ACTIVATION), 0.0)
                    gradient = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
                    sums = ()
                    for k in tl.static_range(KERNEL):
                        for m in tl.static_range(KERNEL):
                            if (r + MARGIN - k) % STRIDE == 0 and (c + MARGIN - m) % STRIDE == 0:
                                reader = window[
                                    (BEFORE + (r + MARGIN - k) // STRIDE) * AROUND + BEFORE + (c + MARGIN - m) // STRIDE
                                ]
                                gradient += reader * taps[k * KERNEL + m]
                                sums += (of_taps[k * KERNEL + m] + reader * value,)
                            else:
                                sums += (of_taps[k * KERNEL + m],)
                    of_taps = sums
                    if ACTIVATION is not None:
                        gradient = tl.where(inside, gradient * derivative(raw * scales + shifts, ACTIVATION), 0.0)
                        of_scale += gradient * raw
                        of_shift += gradient
                        gradient *= scales
                    tl.store(of_x + target + c * channels, gradient.to(of_x.dtype.element_ty), inside)
                target += width * channels
                row += 1
            window = window[AROUND:]
    partial = partials + worker * (2 + KERNEL * KERNEL) * channels + channel
    tl.store(partial, tl.sum(of_scale, 0), active)
    tl.store(partial + channels, tl.sum(of_shift, 0), active)
    for tap in tl.static_range(KERNEL * KERNEL):
        tl.store(partial + (2 + tap) * channels, tl.sum(of_taps[tap], 0), active)


def forward(x: Tensor, prologue: Prologue | None, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
    """See `Primitives.depthwise`."""
    images, channels, height, width = x.shape
    scale, shift, activation = parts(prologue)
    y = empty_images(x, channels, (height - 1) // stride + 1, (width - 1) // stride + 1)
    rows = rows_of(y)
    partials = empty_moments(x, _workers(rows, channels), channels)
    lanes = vector(channels)
    _forward[lambda meta: (triton.cdiv(channels, meta["BLOCK_C"]), len(partials))](
        x,
        scale,
        shift,
        weight,
        y,
        partials,
        images,
        height,
        width,
        *y.shape[2:],
        channels // lanes,
        *_strides(weight),
        bucket(rows, channels),
        VECTOR=lanes,
        KERNEL=weight.shape[-1],
        STRIDE=stride,
        ACTIVATION=activation,
    )
    return y, partials.sum(0)


def backward(
    gradient: OutputGradient, x: Tensor, prologue: Prologue | None, weight: Tensor, stride: int
) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
    """See `Primitives.depthwise_backward`."""
    images, channels, height, width = x.shape
    rows, kernel_size = rows_of(x), weight.shape[-1]
    scale, shift, activation = parts(prologue)
    of_x = torch.empty_like(x)
    partials = empty_partials(x, _workers(rows, channels), 2 + kernel_size**2, channels)
    lanes = vector(channels)
    _backward[lambda meta: (triton.cdiv(channels, meta["BLOCK_C"]), len(partials))](
        *gradient,
        x,
        scale,
        shift,
        weight,
        of_x,
        partials,
        images,
        height,
        width,
        *gradient.y.shape[2:],
        channels // lanes,
        *_strides(weight),
        bucket(rows, channels),
        VECTOR=lanes,
        KERNEL=kernel_size,
        STRIDE=stride,
        ACTIVATION=activation,
    )
    of_scale, of_shift, *of_taps = partials.sum(0, dtype=torch.float64).float()
    of_weight = torch.stack(of_taps, 1).view(weight.shape)
    return (of_x, None, None, of_weight) if prologue is None else (of_x, of_scale, of_shift, of_weight)


def _workers(rows: int, channels: int) -> int:
    return workers(rows, 512, triton.cdiv(channels, 32))


def _strides(weight: Tensor) -> tuple[int, int, int]:
    """Of channel, row and column."""
    channel, _, row, column = weight.stride()
    return channel, row, column
