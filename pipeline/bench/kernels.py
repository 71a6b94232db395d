"""`deps bench kernels`: each operation's time, in several hands and against the machine's limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from kernels.bench.cases import UNITS, Operation
from kernels.bench.measure import against, contenders_on, measure
from kernels.bench.timing import measure_limits
from kernels.dispatch import operations_for
from pipeline.bench.network_cases import network_cases
from pipeline.bench.place import activations_dtype, device_named, place, place_line
from pipeline.bench.plots import kernels_plot
from pipeline.bench.progress import progress
from pipeline.bench.results import keep, results_folder
from pipeline.bench.table import print_figures
from pipeline.console.tables import print_json
from pipeline.errors import RunFailure, UsageError
from pipeline.recipe.named_space import named_space

_DEFAULTS = {"cpu": ("mobilenet_v3_32px", 64), "cuda": ("mobilenet_v3", 128)}  # network and batch

_COLUMNS = {
    "operation": ("operation", ""),
    "shape": ("shape", ""),
    "direction": ("direction", ""),
    "status": ("check", ""),
    "ours_ms": ("ours (ms)", ".3f"),
    "strong_eager_ratio": ("eager (× ours)", ".2f"),
    "ofa_style_ratio": ("OFA style (× ours)", ".2f"),
    "floor_ms": ("floor (ms)", ".3f"),
    "of_floor_pct": ("floor/ours (%)", ".0f"),
    "copy_bandwidth_pct": ("of copy bandwidth (%)", ".0f"),
}


def print_kernel_benchmark(
    network: str | None,
    device: str | None,
    batch_size: int | None,
    repeats: int,
    operations: Sequence[str],
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure, print, and keep as CSV and SVG.

    Args:
        network: whose operations, by its name or recipe; the device's default for None.
        operations: the ones to measure; all where it is empty.

    Raises:
        UsageError: where network, device, operation or folder cannot be had.
        RunFailure: after printing, where an operation's output or gradients are wrong.
    """
    on = device_named(device)
    for name in operations:
        if name not in get_args(Operation):
            raise UsageError(f"--operation: '{name}' is none; legal: {', '.join(get_args(Operation))}")
    default_network, default_batch = _DEFAULTS[on.type]
    network, batch_size = network or default_network, batch_size or default_batch
    space = named_space(network)
    folder = results_folder(output)
    dtype = activations_dtype(on)
    chosen = [case for case in network_cases(space, batch_size) if not operations or case.operation in operations]
    rows: list[dict[str, Any]] = []
    with progress(1 + len(chosen)) as advance:
        advance("limits of the machine")
        limits = measure_limits(on, dtype, 5)
        contenders = contenders_on(on, dtype)
        for case, found in zip(chosen, measure(chosen, contenders, on, dtype, repeats), strict=True):
            rows += found
            limits = limits.or_better(measure_limits(on, dtype, 2))  # others may have used the machine at first
            advance(f"{case.operation} {case.shape}")
    rows = [against(limits, row, contenders[0].name) for row in rows]
    about = place(on)
    measured = {
        "network": network,
        "resolution_px": space.resolution,
        "batch_size": batch_size,
        "repeats": repeats,
        "precision": str(dtype).removeprefix("torch."),
        "kernels": operations_for("auto", on.type, dtype).name,
        **limits._asdict(),
    }
    title = (
        f"Operations of {network} at {space.resolution} px, batch {batch_size}, {measured['precision']}, "
        f"kernels {measured['kernels']}"
    )
    kept = [{**row, **measured} for row in rows]
    files = keep(folder, "kernels", about, kept, lambda path: kernels_plot(path, title, rows))
    if as_json:
        units = {name: UNITS[name] for name in get_args(Operation)}
        print_json({**measured, **about, "units": units, "operations": rows, "files": files})
    else:
        _print(title, rows, measured, about, files)
    failed = [f"{row['operation']} {row['shape']}: {row['status']}" for row in rows if row["status"] != "ok"]
    if failed:
        raise RunFailure(f"bench kernels: {'; '.join(dict.fromkeys(failed))}; no figure is given for it")


def _print(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    measured: Mapping[str, Any],
    about: dict[str, Any],
    files: Sequence[str],
) -> None:
    shown = [
        {**row, "ours_ms": 1e3 * row["ours_seconds"], "floor_ms": 1e3 * row["floor_seconds"]}
        if "ours_seconds" in row
        else row
        for row in rows
    ]
    print_figures(title, shown, _COLUMNS)
    print("One unit of work is the same for all:")
    for operation in dict.fromkeys(row["operation"] for row in rows):
        print(f"  {operation}: {UNITS[operation]}")
    copy, matrix = measured["copy_bytes_per_second"] / 1e9, measured["matrix_flops_per_second"] / 1e9
    print(f"Floor: the longer of every operand read and result written once at {copy:.1f} GB/s, and all products at")
    print(f"{matrix:.0f} GFLOP/s, both the best of this run. What stays in a cache can beat the first.")
    print(
        f"Medians of {measured['repeats']}, contenders in turns. eager: channels_last, in-place slices, bf16 on GPUs."
    )
    print("OFA style: slices copied, NCHW, fp32, nothing fused.")
    print(place_line(about))
    print(f"Kept: {', '.join(files)}")
