"""Moments of a convolution's output: the sum and the sum of squares of each channel, in float64.

A worker sums, in float32, the distances of its values from a pivot: the first of them, or the mean of the first tile.
So a mean far larger than the deviation costs no digits; squares of the values themselves would lose them. The moments
about zero follow from these sums, the pivot and the number of values, once per worker and in float64.
"""

# In a kernel, sums are tensors, which a type checker does not know.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def about_zero(pivot, count, total, square):
    """Sum and sum of squares, float64, of `count` values whose distances from `pivot` have these sums."""
    pivot, total = pivot.to(tl.float64), total.to(tl.float64)
    return total + count * pivot, square.to(tl.float64) + pivot * (2 * total + count * pivot)


@triton.jit
def load_gradients(moments, channel, channels):
    """The gradients of the sum and of the sum of squares of some channels, float32."""
    inside = channel < channels
    of_sum, of_square = tl.load(moments + channel, inside, 0.0), tl.load(moments + channels + channel, inside, 0.0)
    return of_sum.to(tl.float32), of_square.to(tl.float32)


def empty_moments(like: Tensor, workers: int, channels: int) -> Tensor:
    """Uninitialised partial moments [workers, 2, channels] on the device of `like`."""
    return torch.empty((workers, 2, channels), dtype=torch.float64, device=like.device)
