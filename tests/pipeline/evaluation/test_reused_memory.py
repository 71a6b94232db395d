"""Memory is kept by the process while it is reused, and goes the usual way afterwards."""

import ctypes
import resource

import pytest
import torch

from pipeline.evaluation.reused_memory import memory_reused

BYTES = 64 << 20
PAGES = BYTES // resource.getpagesize()


def faults_of_writing(size: int = BYTES) -> int:
    """Pages that the system has to find for a tensor that is taken, written, and freed."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(size, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="the C library is not glibc")
def test_a_freed_block_is_taken_again_without_the_system() -> None:
    with memory_reused():
        faults_of_writing(2 * BYTES)  # so that a block fits, whatever small ones are taken beside it
        assert faults_of_writing() < PAGES / 10
    faults_of_writing()  # gives back what was kept
    assert faults_of_writing() > PAGES / 2
