"""What the depthwise kernels see of an image: strips of it, and a window around them in registers.

A tile is [BLOCK_P, BLOCK_C]: strips side by side, by channels. A patch of such tiles is a tuple, row by row.
"""

# To a type checker Triton's language is not Python: it knows no loops that compilation unrolls.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import triton
import triton.language as tl

from kernels.gpu.activation import prologue


@triton.jit
def load_taps(weight, channel, active, channel_stride, row_stride, column_stride, KERNEL: tl.constexpr):
    """The kernels of some channels: KERNEL² vectors, row by row."""
    taps = ()
    for row in tl.static_range(KERNEL):
        for column in tl.static_range(KERNEL):
            address = weight + channel * channel_stride + row * row_stride + column * column_stride
            taps += (tl.load(address, active, 0.0),)
    return taps


@triton.jit
def strip_height(height, ROWS: tl.constexpr, MULTIPLE: tl.constexpr):
    """At most ROWS, a multiple of MULTIPLE, and such that the strips of an image are about equally high."""
    even = tl.cdiv(height, tl.cdiv(height, ROWS))
    return tl.cdiv(even, MULTIPLE) * MULTIPLE


@triton.jit
def place_strips(first, height, width, tall, BLOCK_P: tl.constexpr, COLUMNS: tl.constexpr):
    """Image, first row and first column of the strips from `first` on, `tall` rows each: [BLOCK_P, 1]."""
    strip = first + tl.arange(0, BLOCK_P)[:, None]
    down, across = tl.cdiv(height, tall), tl.cdiv(width, COLUMNS)
    return strip // (down * across), strip // across % down * tall, strip % across * COLUMNS


@triton.jit
def load_patch(x, row, column, height, width, channels, mask, DOWN: tl.constexpr, ACROSS: tl.constexpr):
    """DOWN · ACROSS values of x, row by row; `row` and `column` are those of the first, where `x` points to."""
    values = ()
    for i in tl.static_range(DOWN):
        place = x
        for j in tl.static_range(ACROSS):
            values += (tl.load(place, _inside(row + i, column + j, height, width) & mask, 0.0),)
            place += channels  # step by step: products for all places would take registers
        x += width * channels
    return values


@triton.jit
def _inside(row, column, height, width):
    return (row >= 0) & (row < height) & (column >= 0) & (column < width)


@triton.jit
def activated(
    raw,
    scales,
    shifts,
    row,
    column,
    height,
    width,
    ACTIVATION: tl.constexpr,
    DOWN: tl.constexpr,
    ACROSS: tl.constexpr,
):
    """What `load_patch` gave after its prologue. Padding is zero after the prologue, not before."""
    values = ()
    for i in tl.static_range(DOWN):
        for j in tl.static_range(ACROSS):
            value = prologue(raw[i * ACROSS + j].to(tl.float32), scales, shifts, ACTIVATION)
            values += (tl.where(_inside(row + i, column + j, height, width), value, 0.0),)
    return values


@triton.jit
def with_moments(direct, y, of_sum, of_square, row, column, height, width, DOWN: tl.constexpr, ACROSS: tl.constexpr):
    """Gradients of the output with those of its moments, from what `load_patch` gave; zero outside the image."""
    values = ()
    for i in tl.static_range(DOWN):
        for j in tl.static_range(ACROSS):
            gradient, output = direct[i * ACROSS + j].to(tl.float32), y[i * ACROSS + j].to(tl.float32)
            value = gradient + of_sum + of_square * output
            values += (tl.where(_inside(row + i, column + j, height, width), value, 0.0),)
    return values
