"""`deps bench step`: seconds of one sandwich step, and of the same step in other hands, in one run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.bench.agreement import Agreement, agreements
from pipeline.bench.contenders import (
    CONTENDERS,
    DESCRIPTIONS,
    StepContender,
    SupernetStep,
    build,
    fed,
    initial_weights,
    readers_batch,
    sandwich_plan,
)
from pipeline.bench.memory import peak_on_cpu, peak_on_cuda
from pipeline.bench.place import PLACE, device_named, place, place_line
from pipeline.bench.plots import step_plot
from pipeline.bench.progress import progress
from pipeline.bench.results import keep, results_folder
from pipeline.bench.table import print_figures
from pipeline.bench.timing import FRESH_SUBNETS, first_steps, median_seconds
from pipeline.console.tables import print_json
from pipeline.errors import RunFailure
from pipeline.recipe.named_space import named_space

_DEFAULTS: dict[str, tuple[str, tuple[int, ...]]] = {
    "cpu": ("mobilenet_v3_32px", (64,)),
    "cuda": ("mobilenet_v3", (128, 256)),
}

_COLUMNS = {
    "batch_size": ("batch", "d"),
    "contender": ("contender", ""),
    "status": ("check", ""),
    "seconds_per_step": ("s/step", ".3f"),
    "images_per_second": ("images/s", ".1f"),
    "ratio": ("× ours", ".2f"),
    "peak_memory_mib": ("peak memory (MiB)", ".0f"),
}


def step_benchmark(
    network: str, batches: Sequence[int], repeats: int, device: torch.device, advance: Callable[[str], None]
) -> dict[str, Any]:
    """Check the contenders against float64, then time those that agree, taking turns.

    Args:
        advance: called with what is done next, `parts` times.
    """
    space = named_space(network)
    plan, weights = sandwich_plan(space), initial_weights(space)
    found: dict[str, Any] = {
        "network": network,
        "resolution_px": space.image_sides[-1],
        "subnets": [str(slot.subnet) for slot in plan.slots],
        "repeats": repeats,
    }
    advance("correctness")
    contenders = {name: build(name, space, plan, weights, device) for name in CONTENDERS}
    checks = agreements(contenders, space, plan, weights, device, min(batches))
    right = {name: contender for name, contender in contenders.items() if checks[name].complaint is None}

    rows: list[dict[str, Any]] = []
    first: list[dict[str, Any]] = []
    for size in batches:
        read = readers_batch(space, size)
        seconds = median_seconds(right, read, device, repeats, lambda size=size: advance(f"steps of {size} images"))
        images, labels = fed(read, device)
        ours = right.get("ours")
        if isinstance(ours, SupernetStep):
            fresh = first_steps(ours, images, labels, lambda: advance("subnets not seen before"))
            first.append({"batch_size": size, **fresh})
        for name in CONTENDERS:
            figures: dict[str, Any] = {}
            if name in right:
                advance(f"memory of {name}")
                peak = _peak(network, name, right[name], images, labels)
                figures = _figures(seconds[name], seconds.get("ours"), size, peak)
            rows.append({"batch_size": size, "contender": name, **_check(checks[name]), **figures})
    return {**found, "contenders": rows, "first_step": first, **place(device)}


def parts(batches: Sequence[int], repeats: int) -> int:
    """How often `step_benchmark` advances, where nothing fails."""
    return 1 + len(batches) * ((1 + repeats) * len(CONTENDERS) + FRESH_SUBNETS + len(CONTENDERS))


def print_step_benchmark(
    network: str | None, batches: Sequence[int], repeats: int, device: str | None, output: Path | None, as_json: bool
) -> None:
    """Measure, print, and keep as CSV and SVG.

    Raises:
        UsageError: where network, device or folder cannot be had.
        RunFailure: after printing, where a contender's losses or gradients are wrong.
    """
    on = device_named(device)
    network, batches = network or _DEFAULTS[on.type][0], batches or _DEFAULTS[on.type][1]
    named_space(network)  # refused before the folder is made
    folder = results_folder(output)
    with progress(parts(batches, repeats)) as advance:
        found = step_benchmark(network, batches, repeats, on, advance)
    rows = found["contenders"]
    about = {"network": network, "resolution_px": found["resolution_px"], "repeats": repeats}
    first = {each["batch_size"]: each for each in found["first_step"]}
    kept = [{**about, **row, **(_first_columns(first, row) if row["contender"] == "ours" else {})} for row in rows]
    title = f"One sandwich step (full, smallest, two random subnets): {network}, {found['resolution_px']} px"
    found["files"] = keep(folder, "step", place_of(found), kept, lambda path: step_plot(path, title, rows))
    if as_json:
        print_json(found)
    else:
        _print(title, found)
    failed = [f"{row['contender']}: {row['status'].removeprefix('FAILED: ')}" for row in rows if _failed(row)]
    if failed:
        raise RunFailure(f"bench step: {'; '.join(dict.fromkeys(failed))}; no figure is given for it")


def place_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a result that tells where it was measured."""
    return {name: found[name] for name in PLACE}


def _peak(network: str, name: str, contender: StepContender, images: Tensor, labels: Tensor) -> int | None:
    if images.device.type == "cuda":
        return peak_on_cuda(contender, images, labels)
    return peak_on_cpu(network, len(images), name)


def _figures(seconds: float, ours: float | None, size: int, peak: int | None) -> dict[str, Any]:
    figures: dict[str, Any] = {"seconds_per_step": seconds, "images_per_second": size / seconds}
    if ours is not None:
        figures["ratio"] = seconds / ours
    return figures if peak is None else {**figures, "peak_memory_bytes": peak}


def _check(found: Agreement) -> dict[str, Any]:
    if found.complaint:
        return {"status": f"FAILED: {found.complaint}"}
    return {"status": "ok", "loss_error": found.loss, "gradient_error": found.gradient}


def _failed(row: Mapping[str, Any]) -> bool:
    return row["status"] != "ok"


def _first_columns(first: Mapping[int, Mapping[str, Any]], row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in first.get(row["batch_size"], {}).items() if name not in ("batch_size", "subnets")
    }


def _print(title: str, found: Mapping[str, Any]) -> None:
    rows = [
        {**row, "peak_memory_mib": row["peak_memory_bytes"] / 2**20} if "peak_memory_bytes" in row else row
        for row in found["contenders"]
    ]
    print_figures(title, rows, _COLUMNS)
    for name, description in DESCRIPTIONS.items():
        print(f"{name}: {description}")
    for each in found["first_step"]:
        print(
            f"First step of a subnet never seen, batch {each['batch_size']}: "
            f"{each['unseen_to_seen_ratio']:.2f} × its next ones (median of {each['subnets']} subnets; "
            f"worst {each['unseen_to_seen_ratio_worst']:.2f})"
        )
    print(
        f"Medians of {found['repeats']} steps from a reader's bytes on, contenders in turns. "
        "Peak memory: a step's, beside weights and momentum."
    )
    print(place_line(place_of(found)))
    print(f"Kept: {', '.join(found['files'])}")
