"""`deps bench kernels --compile`: what Triton's kernels become on GPUs, and what would bound them, without a GPU."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from kernels.bench.cases import Case
from kernels.bench.compiled.instructions import Instruction, instructions, widths
from kernels.bench.compiled.launches import assembly_of, case_launches, code_for
from kernels.bench.compiled.model import DEVICES, modelled
from kernels.bench.compiled.occupancy import ARCHITECTURES, Architecture, occupancy
from kernels.recorded import Launch
from pipeline.bench.network_cases import network_cases
from pipeline.bench.place import place, place_line
from pipeline.bench.progress import progress
from pipeline.bench.results import keep_table, results_folder
from pipeline.bench.subnet_launches import covering_subnets, subnet_launches
from pipeline.console.tables import print_json, print_table
from pipeline.errors import RunFailure, UsageError
from pipeline.recipe.named_space import named_space
from pipeline.supernet.space import Space

_PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}

_CODE_COLUMNS = {
    "kernel": ("kernel", ""),
    "architecture": ("architecture", ""),
    "precision": ("precision", ""),
    "variants": ("variants", "d"),
    "registers": ("registers, first choices", "d"),
    "spilling_first": ("spill, first choices", "d"),
    "spilling": ("spill, all", "d"),
    "occupancy_pct": ("lowest occupancy, first choices (%)", ".0f"),
    "load_bytes": ("widest load (B)", "d"),
    "store_bytes": ("widest store (B)", "d"),
}
_MODEL_COLUMNS = {
    "kernel": ("kernel", ""),
    "shapes": ("shapes", "d"),
    "moved_mib": ("moved (MiB)", ".0f"),
    **{f"{each.name}_ms": (f"{each.name} (ms)", ".3f") for each in DEVICES},
    **{f"{each.name}_bound": (f"bound by, {each.name}", "") for each in DEVICES},
}


def compile_rows(
    space: Space, architectures: Sequence[Architecture], advance: Callable[[str], None]
) -> list[dict[str, Any]]:
    """A row for each architecture and everything that training subnets of `space` may need compiled.

    Args:
        advance: called before the first row is made, and with what is done next, `count_variants` times in all.
    """
    rows = []
    for precision, launch in variants(space):
        for architecture in architectures:
            advance(f"{launch.kernel} for {architecture.name}")
            rows.append(_code_row(launch, precision, architecture))
    return sorted(rows, key=lambda row: (row["kernel"], row["architecture"], row["precision"], row["choice"]))


def variants(space: Space) -> list[tuple[str, Launch]]:
    """Precision and launch of everything that is compiled once, each choice of blocks included."""
    subnets = covering_subnets(space)
    found: dict[tuple[str, str], tuple[str, Launch]] = {}
    for precision, dtype in _PRECISIONS.items():
        for launch in subnet_launches(space, subnets, dtype == torch.bfloat16, every_choice=True):
            # What both precisions share, as it has no activations, is the first's.
            found.setdefault(launch.variant, (precision, launch))
    return list(found.values())


def _code_row(launch: Launch, precision: str, architecture: Architecture) -> dict[str, Any]:
    code = code_for(launch, architecture.capability)
    warps = launch.request.options["num_warps"]
    found = occupancy(architecture, warps, code.registers, code.shared_bytes)
    wide = widths(code.ptx)
    return {
        "kernel": launch.kernel,
        "architecture": architecture.name,
        "precision": precision,
        "choice": launch.choice,
        "constants": _constants(launch),
        "warps": warps,
        "stages": launch.request.options["num_stages"],
        "registers": code.registers,
        "spilled_bytes": code.stack_bytes,
        "shared_bytes": code.shared_bytes,
        "programs_per_multiprocessor": found.programs,
        "occupancy_pct": 100 * found.share,
        "bound_by": found.limit,
        "load_bytes": max(wide.loads, default=0),
        "store_bytes": max(wide.stores, default=0),
    }


def _constants(launch: Launch) -> str:
    """What is known when compiling, for people: constants, block sizes, and which tensors are not given."""
    absent = [name for name, value in launch.values.items() if value is None and not name.isupper()]
    known = [f"{name}={value}" for name, value in launch.values.items() if name.isupper()]
    return " ".join([*known, *(f"no {name}" for name in absent)])


def model_rows(cases: Sequence[Case], advance: Callable[[str], None]) -> list[dict[str, Any]]:
    """A row for each launch of `cases` in bfloat16, with the blocks that are tried first, on each device of the model.

    Args:
        advance: called with each case's name.
    """
    rows = []
    codes: dict[tuple[str, tuple[str, str]], tuple[Instruction, ...]] = {}
    for case in cases:
        advance(f"model of {case.operation} {case.shape}")
        for launch in case_launches(case, torch.bfloat16):
            for device in DEVICES:
                key = device.architecture, launch.variant
                if key not in codes:
                    code = code_for(launch, ARCHITECTURES[device.architecture].capability)
                    codes[key] = instructions(assembly_of(code))
                time = modelled(device, launch, codes[key])
                rows.append(
                    {
                        "kernel": launch.kernel,
                        "operation": case.operation,
                        "shape": case.shape,
                        "batch_size": case.batch,
                        "gpu": device.name,
                        "bound_by": time.bound,
                        "seconds": time.seconds,
                        "memory_seconds": time.memory,
                        "instructions_seconds": time.instructions,
                        "matrix_seconds": time.matrix,
                        "moved_bytes": time.moved_bytes,
                        "warp_instructions": time.issued,
                    }
                )
    return rows


def print_compile_benchmark(
    network: str, batch_size: int, architectures: Sequence[str], output: Path | None, as_json: bool
) -> None:
    """Compile, model, print, and keep as CSV.

    Args:
        architectures: names of `ARCHITECTURES`.
        batch_size: of the model.

    Raises:
        UsageError: where network, architecture, Triton or folder cannot be had.
        RunFailure: after printing, where a choice that is tried first spills registers or does not fit.
    """
    for name in architectures:
        if name not in ARCHITECTURES:
            raise UsageError(f"--arch: '{name}' is none; legal: {', '.join(ARCHITECTURES)}")
    if importlib.util.find_spec("triton") is None:
        raise UsageError("--compile: Triton is not installed; pip install 'delayed-epsilon-shrinking[triton]'")
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise UsageError("--compile: TRITON_INTERPRET=1 has Triton interpret its kernels; unset it to compile them")
    space = named_space(network)
    folder = results_folder(output)
    chosen = [ARCHITECTURES[name] for name in dict.fromkeys(architectures)]
    cases = network_cases(space, batch_size)
    with progress(len(chosen) * len(variants(space)) + len(cases)) as advance:
        rows = compile_rows(space, chosen, advance)
        model = model_rows(cases, advance)
    about = {**place(torch.device("cpu"), ("triton",)), "device": "no_gpu"}
    measured = {"network": network, "resolution_px": space.resolution}
    files = [
        keep_table(folder, "compile", about, [{**row, "network": network} for row in rows]),
        keep_table(folder, "model", about, [{**row, **measured} for row in model]),
    ]
    if as_json:
        print_json({**measured, "batch_size": batch_size, **about, "compiled": rows, "model": model, "files": files})
    else:
        _print(network, batch_size, space, rows, model)
        print(place_line(about))
        print(f"Kept: {', '.join(files)}")
    wrong = dict.fromkeys(
        f"{row['kernel']} for {row['architecture']} in {row['precision']}"
        for row in rows
        if row["choice"] == 0 and (row["spilled_bytes"] or not row["programs_per_multiprocessor"])
    )
    if wrong:
        raise RunFailure(f"bench kernels --compile: blocks tried first spill or do not fit: {'; '.join(wrong)}")


def _print(
    network: str, batch_size: int, space: Space, rows: Sequence[Mapping[str, Any]], model: Sequence[Mapping[str, Any]]
) -> None:
    shown = [_summary(dict(zip(_GROUPED, key, strict=True)), those) for key, those in _grouped(rows, _GROUPED)]
    print_table(f"Triton's kernels for subnets of {network}, compiled", shown, _CODE_COLUMNS)
    print("First choices: of block sizes, those that are tried first. Registers: the most of a thread. Loads and")
    print("stores: the narrowest, over variants, of the widest accesses of a thread to global memory.")
    sizes = f"{space.resolution} px, batch {batch_size}, bfloat16"
    summaries = [_model_summary(kernel, those) for (kernel,), those in _grouped(model, ("kernel",))]
    print_table(f"A model, nothing measured: operations of {network} at {sizes}", summaries, _MODEL_COLUMNS)
    print("Sums over the distinct shapes of the full model. Bound by: what is met first in most of that time.")


_GROUPED = ("kernel", "architecture", "precision")


def _grouped(
    rows: Iterable[Mapping[str, Any]], names: Sequence[str]
) -> Iterable[tuple[tuple[Any, ...], list[Mapping[str, Any]]]]:
    def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in names)

    return [(value, list(those)) for value, those in groupby(sorted(rows, key=key), key)]


def _summary(group: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first = [row for row in rows if row["choice"] == 0]
    return {
        **group,
        "variants": len(rows),
        "registers": max(row["registers"] for row in first),
        "spilling_first": sum(row["spilled_bytes"] > 0 for row in first),
        "spilling": sum(row["spilled_bytes"] > 0 for row in rows),
        "occupancy_pct": min(row["occupancy_pct"] for row in first),
        "load_bytes": min(row["load_bytes"] for row in rows),
        "store_bytes": min(row["store_bytes"] for row in rows),
    }


def _model_summary(kernel: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"kernel": kernel}
    for device in DEVICES:
        here = [row for row in rows if row["gpu"] == device.name]
        seconds: dict[str, float] = {}
        for row in here:
            seconds[row["bound_by"]] = seconds.get(row["bound_by"], 0.0) + row["seconds"]
        found |= {
            "shapes": len(here),
            "moved_mib": sum(row["moved_bytes"] for row in here) / 2**20,
            f"{device.name}_ms": 1e3 * sum(seconds.values()),
            f"{device.name}_bound": max(seconds, key=lambda bound: seconds[bound]),
        }
    return found
