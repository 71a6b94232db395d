"""Memory of activations is taken again, never twice at once, and no more of it than the fullest moment needs."""

import mmap
import random
import resource
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from kernels.cpu.reused_memory import ReusedMemory

SHAPE = (4, 64, 32, 64)  # 2 MiB
PAGES = (2 << 20) // resource.getpagesize()


def faults() -> int:
    """Pages that the system has found for this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def places(tensors: list[Tensor]) -> list[tuple[int, int]]:
    return sorted((each.data_ptr(), each.data_ptr() + each.nbytes) for each in tensors)


@pytest.mark.parametrize("shape", [SHAPE, (1, 8, 3, 5)])
def test_it_gives_tensors_like_torchs_own(shape: tuple[int, ...]) -> None:
    given, expected = ReusedMemory().empty(*shape), torch.empty(shape, memory_format=torch.channels_last)
    assert (given.shape, given.stride(), given.dtype) == (expected.shape, expected.stride(), torch.float32)
    assert not given._is_view()


def test_what_was_freed_is_taken_again_without_the_system_in_any_sizes() -> None:
    memory = ReusedMemory()
    tensors = [memory.empty(*SHAPE).fill_(1) for _ in range(6)]
    (begin, _), *_, (_, end) = places(tensors)
    del tensors
    before = faults()
    tensors = [memory.empty(4 * images, 64, 32, 64).fill_(1) for images in (3, 1, 2)]
    assert faults() - before < PAGES
    assert (places(tensors)[0][0], places(tensors)[-1][1]) == (begin, end)


def test_tensors_that_are_alive_never_share_memory() -> None:
    memory, draw = ReusedMemory(), random.Random(0)
    first = memory.empty(*SHAPE).data_ptr()
    alive: list[Tensor] = []
    for value in range(300):
        alive.append(memory.empty(draw.randint(1, 9), 64, 64, 64).fill_(value))
        if len(alive) > 8:
            alive.pop(draw.randrange(8))
        held = places(alive)
        assert all(end <= begin for (_, end), (begin, _) in pairwise(held))
    assert all((each == each.flatten()[0]).all() for each in alive)
    alive.clear()
    assert memory.empty(36, 64, 64, 64).data_ptr() == first  # one gap again


def test_where_addresses_are_limited_memory_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refused)
    assert ReusedMemory().empty(*SHAPE).fill_(1).sum() == 4 * 64 * 32 * 64
