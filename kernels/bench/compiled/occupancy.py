"""How many programs of a kernel a multiprocessor runs at once: the limits of each architecture, and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

KIB = 1024
WARP_THREADS = 32


@dataclass(frozen=True)
class Architecture:
    """The limits of a multiprocessor.

    Sources: NVIDIA's CUDA C++ Programming Guide, table "Technical Specifications per Compute Capability", for
    registers, warps, programs ("resident thread blocks") and shared memory; the tuning guides of Ampere, Hopper and
    Blackwell, section "Occupancy", for the same figures, and for the shared memory that CUDA keeps of each program; the
    occupancy calculator of Nsight Compute for the units in which registers, warps and shared memory are given away.
    """

    capability: int
    shared_bytes: int
    registers: int = 65536
    warps: int = 64
    programs: int = 32
    reserved_shared_bytes: int = KIB  # of each program, for CUDA itself
    shared_unit_bytes: int = 128
    register_unit: int = 256  # of a warp
    warp_unit: int = 4  # registers are divided among four schedulers

    @property
    def name(self) -> str:
        return f"sm_{self.capability}"


ARCHITECTURES = {
    each.name: each
    for each in (
        Architecture(80, shared_bytes=164 * KIB),  # A100
        Architecture(90, shared_bytes=228 * KIB),  # H100, H200
        Architecture(100, shared_bytes=228 * KIB),  # B200
    )
}


class Occupancy(NamedTuple):
    """Of a multiprocessor.

    Attributes:
        programs: that run at once.
        share: of the warps that it could hold.
        limit: what allows no more: "registers", "shared memory", "warps" or "programs".
    """

    programs: int
    share: float
    limit: str


def occupancy(architecture: Architecture, warps: int, registers: int, shared_bytes: int) -> Occupancy:
    """Of programs of so many warps, registers per thread, and bytes of shared memory per program."""
    of_warp = _rounded_up(registers * WARP_THREADS, architecture.register_unit)
    with_registers = architecture.registers // of_warp // architecture.warp_unit * architecture.warp_unit
    shared = _rounded_up(shared_bytes + architecture.reserved_shared_bytes, architecture.shared_unit_bytes)
    fitting = {
        "warps": architecture.warps // warps,
        "programs": architecture.programs,
        "registers": with_registers // warps,
        "shared memory": architecture.shared_bytes // shared,
    }
    limit = min(fitting, key=lambda name: fitting[name])
    return Occupancy(fitting[limit], fitting[limit] * warps / architecture.warps, limit)


def _rounded_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
