"""Which instructions the processor at hand has, of those that the C++ has forms for."""

from __future__ import annotations

import platform
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple


class InstructionSet(NamedTuple):
    """A form of the C++.

    Attributes:
        name: that people know.
        flags: of the compiler, g++ or clang++.
        needs: of what Linux lists of a processor.
    """

    name: str
    flags: tuple[str, ...]
    needs: frozenset[str] = frozenset()


_AVX2 = frozenset({"avx2", "fma"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
# Widest first: vectors of 16, 8 and 4 numbers.
X86 = (
    InstructionSet("AVX-512", ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"), _AVX512),
    InstructionSet("AVX2", ("-mavx2", "-mfma"), _AVX2),
    InstructionSet("SSE2", ()),
)


def instruction_set(machine: str, features: Collection[str]) -> InstructionSet:
    """The widest that a processor has.

    Not all that it has (-march=native): then what one machine of a shared home compiled would end a process of another
    one, or be compiled for each anew.

    Args:
        machine: as `platform.machine` tells it.
        features: as /proc/cpuinfo lists them.
    """
    if machine.lower() in ("x86_64", "amd64"):
        return next(each for each in X86 if each.needs <= set(features))
    # Others have one width, and little else that matters here.
    return InstructionSet(machine, ())


def of_this_processor() -> InstructionSet:
    """The widest of the processor at hand; where Linux does not list what it has, one that all of its kind have."""
    return instruction_set(platform.machine(), features())


def features() -> frozenset[str]:
    """What /proc/cpuinfo lists of the first processor; nothing where there is no such list."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    line = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return frozenset(line.partition(":")[2].split())
