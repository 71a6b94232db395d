"""`deps plan RECIPE`: what a run costs on 1 to 512 accelerators, from step times of one and the bandwidth of links."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.console.tables import print_json, print_table
from pipeline.errors import UsageError
from pipeline.forecast.dry_run import schedule_without_data
from pipeline.forecast.step_times import StepTimes
from pipeline.methods.phases import Phase
from pipeline.methods.schedule import Schedule
from pipeline.recipe.recipe import Recipe
from pipeline.run.folder import machine
from pipeline.supernet.space import Space
from pipeline.supernet.supernet import Supernet
from pipeline.tracking.ledger import unit_for

_BYTES_PER_GRADIENT = 4  # gradients are fp32 also where autocast computes in bf16
_LATENCY_SECONDS = 10e-6  # of one hop of a ring

# Between these two stand the phases' columns (`_step_column`).
_COLUMNS = {
    "accelerators": ("accelerators", ",d"),
    "nodes": ("nodes", ",d"),
    "images_per_accelerator": ("images each", ",d"),
}
_COLUMNS_BEHIND = {
    "all_reduce_seconds": ("of it all-reduce, s", ".4f"),
    "efficiency": ("efficiency", ".0%"),
    "wall_hours": ("hours", ",.2f"),
    "accelerator_hours": ("accelerator hours", ",.2f"),
    "dollars": ("$", ",.0f"),
}


@dataclass(frozen=True)
class Links:
    """Nominal bandwidths in GB/s, one way.

    Attributes:
        within: of each accelerator, to the others of its node.
        between: of each node, to the others.
        share: what collective operations reach of both.
    """

    within: float
    between: float
    share: float = 0.8

    def all_reduce(self, size: float, nodes: int, per_node: int) -> float:
        """Seconds to all-reduce `size` bytes: rings within each node, then rings between the nodes."""
        inside = 2 * (per_node - 1) / per_node * size / (self.within * self.share * 1e9)
        outside = 2 * (nodes - 1) / nodes * size / (self.between * self.share * 1e9)
        return inside + outside + 2 * (per_node - 1 + nodes - 1) * _LATENCY_SECONDS


# Vendors' figures: NVLink of each GPU; the network of a node of eight (100, 8 × 200, 8 × 400 Gbit/s). For CPUs, what
# gloo moves between processes of one machine, and 10 Gbit/s Ethernet.
LINKS = {
    "v100": Links(150, 12.5),
    "a100": Links(300, 200),
    "h100": Links(450, 400),
    "h200": Links(450, 400),
    "cpu": Links(1.0, 1.25),
}


def costs(
    recipe: Recipe, schedule: Schedule, times: StepTimes, links: Links, per_node: int, counts: Sequence[int]
) -> list[dict[str, Any]]:
    """A row of `_columns` for each number of accelerators among `counts` that the batch can be shared by."""
    gradients = gradient_bytes(schedule.space)
    price = recipe.cost.price_per_gpu_hour if times.device == "cuda" else None
    alone = run_seconds(schedule, times, recipe.batch_size, lambda slots: 0.0)
    rows: list[dict[str, Any]] = []
    for count in counts:
        if recipe.batch_size % count:
            continue
        each, nodes = recipe.batch_size // count, -(-count // per_node)
        reduce = links.all_reduce(gradients, nodes, min(count, per_node))

        def talking(slots: int, reduce: float = reduce) -> float:
            return reduce * recipe.engine.all_reduces(slots)

        seconds = run_seconds(schedule, times, each, talking)
        steps = {
            _step_column(phase): times.phases[phase.name](each) + talking(len(phase.slots)) for phase in schedule.phases
        }
        hours = count * seconds / 3600
        rows.append(
            {
                "accelerators": count,
                "nodes": nodes,
                "images_per_accelerator": each,
                **steps,
                "all_reduce_seconds": talking(len(schedule.phases[-1].slots)),
                "efficiency": alone / (count * seconds),
                "wall_hours": seconds / 3600,
                "accelerator_hours": hours,
                "dollars": None if price is None else hours * price,
            }
        )
    return rows


def _columns(schedule: Schedule) -> dict[str, tuple[str, str]]:
    steps = {_step_column(phase): (f"{phase.name} step, s", ".4f") for phase in schedule.phases}
    return {**_COLUMNS, **steps, **_COLUMNS_BEHIND}


def _step_column(phase: Phase) -> str:
    return f"{phase.name.replace(' ', '_')}_step_seconds"


def links_of(gpu: str, within: float | None, between: float | None) -> Links:
    """The links of a kind of GPU.

    Raises:
        UsageError: where the kind is not known, and the bandwidths are not both given.
    """
    gpu = gpu.lower()
    if gpu in LINKS:
        return Links(within or LINKS[gpu].within, between or LINKS[gpu].between)
    if within is None or between is None:
        raise UsageError(f"--gpu {gpu}: is none of {', '.join(LINKS)}; for others give --link and --network as well")
    return Links(within, between)


def step_times(recipe: Recipe, schedule: Schedule, gpu: str, measured: Path | None) -> StepTimes:
    """Step times on `gpu`: those in the file `measured`, or else measured now, if that is what this machine has."""
    gpu = gpu.lower()
    if measured:
        times = StepTimes.load(measured, recipe, schedule)
        _check_machine(gpu, times.device, times.machine)
        return times
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _check_machine(gpu, device.type, machine(device))
    return StepTimes.measure(recipe, schedule)


def _check_machine(gpu: str, device_type: str, name: str) -> None:
    if (gpu == "cpu") != (device_type == "cpu") or (gpu != "cpu" and gpu not in name.lower()):
        raise UsageError(
            f"--gpu {gpu}: step times would be those of {name}; on a machine with {gpu} run "
            "deps plan RECIPE --save FILE, and give --measured FILE here"
        )


def gradient_bytes(space: Space) -> int:
    """What an all-reduce of all gradients moves."""
    return _BYTES_PER_GRADIENT * sum(parameter.numel() for parameter in Supernet(space).parameters())


def run_seconds(schedule: Schedule, times: StepTimes, images: int, talking: Callable[[int], float]) -> float:
    """Seconds of all steps of a run, at `images` per accelerator.

    Args:
        talking: seconds that processes talk in a step of so many slots.
    """
    return sum(
        (phase.end - phase.start) * (times.phases[phase.name](images) + talking(len(phase.slots)))
        for phase in schedule.phases
    )


def print_costs(
    recipe: Recipe,
    gpu: str,
    per_node: int,
    counts: Sequence[int],
    within: float | None,
    between: float | None,
    measured: Path | None,
    save: Path | None,
    as_json: bool,
) -> None:
    """Print the rows of `costs`, with all that they assume.

    Raises:
        UsageError: for a GPU that is not known, or that nothing was measured on.
    """
    links = links_of(gpu, within, between)
    left_out = [count for count in counts if recipe.batch_size % count]
    if len(left_out) == len(counts):
        raise UsageError(f"--gpus, --nodes: none of {left_out} divides batch_size {recipe.batch_size}")
    schedule = schedule_without_data(recipe)
    times = step_times(recipe, schedule, gpu, measured)
    if save:
        times.save(save)
    rows = costs(recipe, schedule, times, links, per_node, counts)
    unit = unit_for(times.device)
    last = schedule.phases[-1]
    sides = ", ".join(map(str, times.computes["resolutions"]))
    assumed = [
        f"step times: {times.machine}, {times.computes['network']} at {sides} px, from steps of {times.images[0]} and "
        f"{times.images[1]} images: a fixed part and one in proportion to images",
        f"links: {links.within:g} GB/s within a node of {per_node}, {links.between:g} GB/s between nodes, one way; "
        f"collective operations reach {links.share:.0%} of that, and hide behind nothing",
        f"sent in a step of phase {last.name}: {recipe.engine.all_reduces(len(last.slots)):g} × the all-reduce of the "
        f"gradients ({recipe.engine.name})",
        "not in it: waiting for data, evaluation, checkpoints, start-up, processes slower than others",
    ]
    if left_out:
        assumed.append(f"left out: {', '.join(map(str, left_out))}; batch_size {recipe.batch_size} cannot be split so")
    if as_json:
        print_json({"name": recipe.name, "unit": unit, "rows": rows, "assumptions": assumed})
        return
    columns = {
        key: column for key, column in _columns(schedule).items() if key != "dollars" or rows[0]["dollars"] is not None
    }
    print_table(f"{recipe.name}: {schedule.steps:,} steps of {recipe.batch_size:,} images; {unit}", rows, columns)
    print("\n".join(assumed))
