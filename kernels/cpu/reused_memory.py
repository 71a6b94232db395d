"""Memory for activations that is taken again, step after step, without the system between.

The C library gives large blocks back to the system when they are freed, and what is taken anew is zeroed page by page
when it is first written: a tenth of the processor's time in a sandwich step. Having the C library keep them leaves
holes between the small blocks that stay among them, and lifts the peak by up to a third. So they have a place of their
own, in which those of a step lie one behind the other.
"""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from bisect import bisect_left
from collections import deque
from contextlib import suppress

import torch
from torch import Tensor

_LEAST = 1 << 20  # bytes: smaller ones are the C library's
_UNIT = 1 << 16  # bytes, of which blocks are multiples
_WITHOUT_RESERVE = 0x4000  # MAP_NORESERVE of Linux: pages count when they are written


class ReusedMemory:
    """Lends blocks of one stretch of addresses, each from the first gap that is large enough.

    What has been lent once stays with the process.
    """

    def __init__(self) -> None:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _UNIT * _UNIT
        self._gaps = [(0, size)]  # begin and end, by begin
        self._returned: deque[tuple[int, int]] = deque()  # by whatever thread freed a tensor, at any moment
        self._lending = threading.Lock()
        self._memory: mmap.mmap | None = None
        with suppress(OSError):  # a limit on addresses
            self._memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _WITHOUT_RESERVE)

    def empty(self, batch: int, channels: int, height: int, width: int) -> Tensor:
        """A tensor [batch, channels, height, width], float32 and channels_last, of any values."""
        count = batch * channels * height * width
        block = None
        if self._memory is not None and 4 * count >= _LEAST:
            with self._lending:
                block = self._lend(self._memory, 4 * count)
        if block is None:
            return torch.empty(batch, channels, height, width, memory_format=torch.channels_last)
        storage = torch.frombuffer(block, dtype=torch.float32, count=count).untyped_storage()
        strides = (height * width * channels, 1, width * channels, channels)
        return torch.empty(0).set_(storage, 0, (batch, channels, height, width), strides)

    def _lend(self, memory: mmap.mmap, size: int) -> memoryview | None:
        """None where no gap is large enough."""
        while self._returned:
            self._take_back(*self._returned.popleft())
        size = (size + _UNIT - 1) // _UNIT * _UNIT
        for place, (begin, end) in enumerate(self._gaps):
            if end - begin < size:
                continue
            self._gaps[place : place + 1] = [(begin + size, end)] if end - begin > size else []
            block = memoryview(memory)[begin : begin + size]
            weakref.finalize(block, self._returned.append, (begin, begin + size)).atexit = False
            return block
        return None

    def _take_back(self, begin: int, end: int) -> None:
        first = last = bisect_left(self._gaps, (begin, end))
        if first > 0 and self._gaps[first - 1][1] == begin:
            first -= 1
            begin = self._gaps[first][0]
        if last < len(self._gaps) and self._gaps[last][0] == end:
            end = self._gaps[last][1]
            last += 1
        self._gaps[first:last] = [(begin, end)]
