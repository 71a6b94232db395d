"""A model of the time that a launch takes on an H100 or H200: which of the machine's limits it would meet first.

It knows bytes, instructions and products, and nothing else: no latency, no cost of launching, and of the caches only
that what one program has read costs its neighbours nothing. How much slower a kernel is, a GPU must tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from kernels.bench.compiled.instructions import Instruction, loop_depth
from kernels.recorded import Launch


class Device(NamedTuple):
    """A GPU's limits.

    Sources: NVIDIA's data sheets of the H100 (SXM) and H200 (SXM): memory bandwidth, dense bfloat16 and float32 rates;
    the H100 architecture white paper: multiprocessors. The clock follows from the float32 rate, 67 TFLOP/s =
    132 multiprocessors · 128 lanes · 2 · clock.
    """

    name: str
    architecture: str
    multiprocessors: int
    clock_hz: float
    memory_bytes_per_second: float
    matrix_flops_per_second: float  # bfloat16, dense


DEVICES = (
    Device("H100", "sm_90", 132, 1.98e9, 3.35e12, 989e12),
    Device("H200", "sm_90", 132, 1.98e9, 4.8e12, 989e12),
)

# Cycles for which an instruction of a warp keeps a unit of a multiprocessor busy: 32 lanes by the lanes per cycle in
# the CUDA C++ Programming Guide's table "Throughput of Native Arithmetic Instructions", compute capability 9.0. Which
# unit an instruction goes to: the pipelines in the documentation of Nsight Compute, "Metrics Guide". Sums and products
# of float32 (128 lanes) are bounded by their issue, and so is whatever is in no list here.
_ISSUE_CYCLES = 1 / 4  # four schedulers, one instruction per cycle each
_UNITS: Mapping[str, tuple[float, tuple[str, ...]]] = {
    # 64 lanes: comparisons, logic, shifts, sums of integers, and conversions that pack two values.
    "logic": (
        32 / 64,
        (
            *(
                "IADD",
                "LOP",
                "ISETP",
                "FSETP",
                "SHF",
                "SEL",
                "FSEL",
                "FMNMX",
                "IMNMX",
                "VIMNMX",
                "VIADD",
                "PRMT",
                "LEA",
            ),
            *("P2R", "R2P", "PLOP3", "SGXT", "BMSK", "F2FP", "IABS", "MOV", "CS2R"),
        ),
    ),
    "integer products": (32 / 64, ("IMAD",)),
    "float64": (32 / 64, ("DADD", "DMUL", "DFMA", "DSETP", "DMNMX")),
    "special functions": (32 / 16, ("MUFU", "F2F", "F2I", "I2F", "FRND", "POPC", "FLO")),
}
# 32 lanes of 4 bytes per cycle; accesses that are wider take so much longer.
_MEMORY = ("LD", "ST", "SHFL", "ATOM", "RED")
_WIDTH_CYCLES = {"64": 2, "128": 4}


class Time(NamedTuple):
    """Of one launch, in seconds, by what could bound it; `bound` names the longest of them."""

    seconds: float
    bound: str
    memory: float  # the GPU's: every tensor read or written once
    instructions: float  # the longest that a unit of a multiprocessor, or the issue, is busy
    matrix: float  # tensor cores, tiles beyond the edges included
    moved_bytes: int
    issued: float  # instructions of warps


def modelled(device: Device, launch: Launch, code: Sequence[Instruction]) -> Time:
    """The time of a launch whose code for the device's architecture has these instructions.

    Raises:
        LookupError: where the code has loops of which the model does not know how often they are gone through.
    """
    trips = trips_of(launch)
    if loop_depth(code) > len(trips):
        raise LookupError(f"{launch.kernel} has {loop_depth(code)} loops, one in another; the model knows {len(trips)}")
    times = [math.prod(trips[: each.depth]) for each in code]
    programs = math.prod(launch.grid)
    warps = launch.request.options["num_warps"]
    # The multiprocessor with the most programs ends last.
    most = math.ceil(programs / device.multiprocessors) * warps
    busy = {"issue": 0.0, "loads and stores": 0.0, **dict.fromkeys(_UNITS, 0.0)}
    for each, count in zip(code, times, strict=True):
        for unit, cycles in _cycles(each.name).items():
            busy[unit] += most * count * cycles
    unit = max(busy, key=lambda name: busy[name])
    moved = sum(math.prod(shape) * launch.element_bytes[name] for name, shape in launch.shapes.items())
    matrix = _matrix_flops(launch, trips) if any("MMA" in each.name for each in code) else 0
    bounds = {
        "memory": moved / device.memory_bytes_per_second,
        unit: busy[unit] / device.clock_hz,
        "tensor cores": matrix / device.matrix_flops_per_second,
    }
    bound = max(bounds, key=lambda name: bounds[name])
    memory, instructions, tensor_cores = bounds.values()
    return Time(bounds[bound], bound, memory, instructions, tensor_cores, moved, programs * warps * sum(times))


def trips_of(launch: Launch) -> tuple[float, ...]:
    """How often a program goes through its loops, from the outermost in, on average over the programs."""
    known = _TRIPS.get(launch.kernel)
    return () if known is None else known(launch)


def _cycles(name: str) -> dict[str, float]:
    """The units that an instruction keeps busy, and for how many cycles."""
    found = {"issue": _ISSUE_CYCLES}
    if name.startswith(_MEMORY) and not name.startswith(("LDC", "LDGDEPBAR")):
        found["loads and stores"] = max((_WIDTH_CYCLES.get(part, 1) for part in name.split(".")), default=1)
    for unit, (cycles, names) in _UNITS.items():
        if name.startswith(names):
            found[unit] = cycles
    return found


def _pointwise_trips(summed: str, axis: int) -> Callable[[Launch], tuple[float, ...]]:
    def trips(launch: Launch) -> tuple[float, ...]:
        values = launch.values
        tiles = math.ceil(values["rows"] / values["BLOCK_M"])
        return tiles / launch.grid[axis], math.ceil(values[summed] * values["VECTOR"] / values["BLOCK_K"])

    return trips


def _weight_gradient_trips(launch: Launch) -> tuple[float, ...]:
    return (math.ceil(launch.values["rows"] / launch.values["BLOCK_M"]) / launch.grid[2],)


def _depthwise_trips(height: str, width: str, rows: str | None) -> Callable[[Launch], tuple[float, ...]]:
    """Over blocks of strips, and down a strip.

    Args:
        rows: the constant that tells how many rows a step goes down; None for one.
    """

    def trips(launch: Launch) -> tuple[float, ...]:
        values = launch.values
        step = 1 if rows is None else values[rows]
        even = math.ceil(values[height] / math.ceil(values[height] / values["ROWS"]))
        tall = math.ceil(even / step) * step
        strips = values["images"] * math.ceil(values[height] / tall) * math.ceil(values[width] / values["COLUMNS"])
        return math.ceil(strips / values["BLOCK_P"]) / launch.grid[1], tall / step

    return trips


def _apply_backward_trips(launch: Launch) -> tuple[float, ...]:
    values = launch.values
    return (values["images"] * math.ceil(values["positions"] / values["BLOCK_M"]) / launch.grid[1],)


def _sum_positions_trips(launch: Launch) -> tuple[float, ...]:
    return (math.ceil(launch.values["positions"] / launch.values["BLOCK_M"]),)


_TRIPS: Mapping[str, Callable[[Launch], tuple[float, ...]]] = {
    "pointwise._forward": _pointwise_trips("input_vectors", 1),
    "pointwise._input_gradient": _pointwise_trips("output_vectors", 1),
    "pointwise._weight_gradient": _weight_gradient_trips,
    "depthwise._forward": _depthwise_trips("height_out", "width_out", None),
    "depthwise._backward": _depthwise_trips("height", "width", "STRIDE"),
    "normalise._apply_backward": _apply_backward_trips,
    "normalise._sum_positions": _sum_positions_trips,
}


def _matrix_flops(launch: Launch, trips: Sequence[float]) -> float:
    """Of whole tiles: what lies beyond an edge is multiplied, too."""
    values = launch.values
    sides = [values[name] for name in ("BLOCK_M", "BLOCK_N", "BLOCK_K", "BLOCK_O", "BLOCK_I") if name in values]
    return 2 * math.prod(sides) * math.prod(trips) * math.prod(launch.grid)
