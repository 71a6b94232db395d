"""Memory is kept by the process while it is reused, and goes the usual way afterwards."""

import ctypes
import resource

import pytest
import torch

from pipeline.evaluation.reused_memory import memory_reused

LIBRARY = ctypes.CDLL(None)
BYTES = 64 << 20
PAGES = BYTES // resource.getpagesize()


class Statistics(ctypes.Structure):
    """The C library's `struct mallinfo2`; `hblks` are the blocks that the system has mapped one by one."""

    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", *"abcdef")]


def faults_of_writing(size: int) -> int:
    """Pages that the system has to find for a tensor that is taken, written, and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(size, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def mapped_for(size: int) -> int:
    """Blocks that are mapped for a tensor that is taken, and not written."""
    statistics = LIBRARY.mallinfo2
    statistics.restype = Statistics
    before = statistics().hblks
    taken = torch.empty(size, dtype=torch.uint8)
    found = statistics().hblks - before
    del taken
    return found


@pytest.mark.skipif(not hasattr(LIBRARY, "mallinfo2"), reason="the C library is not glibc, or an old one")
def test_a_freed_block_is_taken_again_without_the_system() -> None:
    with memory_reused():
        faults_of_writing(2 * BYTES)  # so that a block fits, whatever small ones are taken beside it
        assert faults_of_writing(BYTES) < PAGES / 10
        assert mapped_for(4 * BYTES) == 0
    assert mapped_for(16 * BYTES) == 1  # more than is left of what was kept
