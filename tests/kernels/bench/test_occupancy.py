"""Occupancy against figures in NVIDIA's documents, and against a few worked out by hand."""

import pytest

from kernels.bench.compiled.occupancy import ARCHITECTURES, KIB, occupancy


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(
    ("threads", "registers", "programs", "percent"),
    [
        # CUDA C++ Best Practices Guide, "Calculating Occupancy": at most 32 registers for every warp there can be; with
        # 37, twelve blocks of 128 threads, or four of 320.
        (256, 32, 8, 100),
        (128, 37, 12, 75),
        (320, 37, 4, 62.5),
        # 255 · 32 registers are rounded up to 8192, of which there are eight.
        (256, 255, 1, 12.5),
        # 33 · 32 are rounded up to 1280: 51 warps, of which each of four schedulers has twelve.
        (32, 33, 32, 50),
    ],
)
def test_registers_bound_it(name: str, threads: int, registers: int, programs: int, percent: float) -> None:
    found = occupancy(ARCHITECTURES[name], threads // 32, registers, 0)
    assert (found.programs, 100 * found.share) == (programs, percent)


@pytest.mark.parametrize(
    ("name", "shared_kib", "programs"),
    [
        # The tuning guides: 163 KiB for one block of an A100 with its 164, 227 of an H100's and a B200's 228.
        ("sm_80", 163, 1),
        ("sm_80", 164, 0),
        ("sm_90", 227, 1),
        ("sm_90", 228, 0),
        ("sm_100", 227, 1),
        # One KiB of each is CUDA's own.
        ("sm_80", 81, 2),
        ("sm_80", 82, 1),
        ("sm_90", 75, 3),
    ],
)
def test_shared_memory_bounds_it(name: str, shared_kib: int, programs: int) -> None:
    found = occupancy(ARCHITECTURES[name], 4, 32, shared_kib * KIB)
    assert (found.programs, found.limit) == (programs, "shared memory")


def test_warps_and_programs_bound_it_where_a_thread_needs_little() -> None:
    a100 = ARCHITECTURES["sm_80"]
    assert occupancy(a100, 8, 16, 0) == (8, 1.0, "warps")
    assert occupancy(a100, 1, 16, 0) == (32, 0.5, "programs")
