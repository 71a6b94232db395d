"""Seconds of work on a device, and the limits of the machine: copy bandwidth and matrix rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")

_FLUSH_BYTES = 1 << 30  # far beyond a GPU's level-2 cache


class Clock:
    """Seconds that a function's work takes on `device`.

    On CUDA, time is taken by the device's events. Before each measurement a large buffer is overwritten: it clears the
    cache, as the many other operations of a step do, and meanwhile the host gets ahead with launching.
    """

    def __init__(self, device: torch.device, flush: bool = True) -> None:
        self._cuda = device.type == "cuda"
        self._buffer = torch.empty(_FLUSH_BYTES, dtype=torch.int8, device=device) if self._cuda and flush else None

    def time(self, work: Callable[[], Result]) -> tuple[float, Result]:
        """Seconds, and what `work` returned."""
        if not self._cuda:
            began = time.perf_counter()
            result = work()
            return time.perf_counter() - began, result
        torch.cuda.synchronize()
        if self._buffer is not None:
            self._buffer.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        result = work()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3, result


class Limits(NamedTuple):
    """What the machine reached: better the more often it is measured, where others use the machine, too."""

    copy_bytes_per_second: float  # read and written
    matrix_flops_per_second: float  # in the precision of the activations

    def floor_seconds(self, moved_bytes: float, flops: float) -> float:
        """The time that no implementation can beat which moves these bytes and does these operations (roofline)."""
        return max(moved_bytes / self.copy_bytes_per_second, flops / self.matrix_flops_per_second)

    def or_better(self, other: Limits) -> Limits:
        """The better of both: what a machine reached once is no longer out of reach."""
        return Limits(*map(max, self, other))


def measure_limits(device: torch.device, dtype: torch.dtype, repeats: int) -> Limits:
    """The best of `repeats` copies and matrix products of a size that fills the machine."""
    size, side = (1 << 30, 8192) if device.type == "cuda" else (1 << 28, 2048)
    source = torch.ones(size, dtype=torch.int8, device=device)
    target = torch.empty_like(source)
    matrix = torch.ones(side, side, dtype=dtype, device=device)
    product = torch.empty_like(matrix)

    def copy() -> Tensor:
        return target.copy_(source)

    def multiply() -> Tensor:
        return torch.mm(matrix, matrix, out=product)

    clock = Clock(device, flush=False)
    copying, multiplying = (min(clock.time(work)[0] for _ in range(repeats)) for work in (copy, multiply))
    return Limits(2 * size / copying, 2 * side**3 / multiplying)
