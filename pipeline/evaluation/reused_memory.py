"""Memory that is freed and taken again, batch after batch, without the system between.

The C library gives blocks of more than 32 MiB, which activations are, back to the system whenever they are freed, and
what is taken anew is zeroed page by page when it is first written. In a forward pass of large batches that is a third
of the processor's time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

# Of <malloc.h>.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_NEVER = 2**31 - 1
# The C library's own values, the thresholds as they are once large blocks have been freed.
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}


@contextmanager
def memory_reused() -> Iterator[None]:
    """Have this process keep the memory that is freed meanwhile, to take it again; where the C library is glibc."""
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        for option, value in _USUAL.items():
            library.mallopt(option, value)
