"""The benchmark of the operations: each case checked, then timed, all contenders in turns."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from kernels.bench.cases import DIRECTIONS, Case, Direction, least_work
from kernels.bench.contenders import Eager, OfaStyle, OperationContender, Ours
from kernels.bench.correctness import complaint, errors, gradients, leaves, output_gradients
from kernels.bench.operands import operands
from kernels.bench.timing import Clock, Limits

_WARM_UPS = 3  # Triton's tuning, oneDNN's and cuDNN's choice of algorithms


def contenders_on(device: torch.device, dtype: torch.dtype) -> list[OperationContender]:
    """Ours first: the others' times are given as multiples of it."""
    return [Ours(device, dtype), Eager(device, dtype), OfaStyle(device)]


def measure(
    cases: Iterable[Case],
    contenders: Sequence[OperationContender],
    device: torch.device,
    dtype: torch.dtype,
    repeats: int,
) -> Iterator[list[dict[str, Any]]]:
    """For each case the rows of its forward and backward pass.

    A row has the contenders' median seconds, their ratio to the first contender's, and the least bytes and operations;
    or, where a check failed, what differs, and no figure.

    Args:
        dtype: of activations; weights are float32.
    """
    clock = Clock(device)
    for case in cases:
        found = {contender.name: errors(contender, case, device, dtype) for contender in contenders}
        complaints = [each for contender in contenders if (each := complaint(contender, found[contender.name]))]
        if complaints:
            yield [_row(case, direction, status="FAILED: " + "; ".join(complaints)) for direction in DIRECTIONS]
            continue
        seconds = _seconds(case, contenders, clock, device, dtype, repeats)
        largest = max(error for each in found.values() for error in each.values())
        yield [
            _row(case, direction, status="ok", largest_error=largest)
            | _figures(case, direction, {name: times[direction] for name, times in seconds.items()}, dtype)
            for direction in DIRECTIONS
        ]


def _seconds(
    case: Case,
    contenders: Sequence[OperationContender],
    clock: Clock,
    device: torch.device,
    dtype: torch.dtype,
    repeats: int,
) -> dict[str, dict[Direction, float]]:
    """Median seconds by contender and direction."""
    made = operands(case, device, dtype)
    laid_out = {contender.name: leaves(contender.lay_out(made)) for contender in contenders}
    times: dict[str, dict[Direction, list[float]]] = {
        contender.name: {direction: [] for direction in DIRECTIONS} for contender in contenders
    }
    incoming: dict[str, list[torch.Tensor]] = {}
    for _ in range(_WARM_UPS + repeats):
        for contender in contenders:
            name, given = contender.name, laid_out[contender.name]
            forward, outputs = clock.time(lambda contender=contender, given=given: contender.forward(case, given))
            arriving = incoming.setdefault(name, output_gradients(outputs))
            backward, _ = clock.time(
                lambda outputs=outputs, given=given, arriving=arriving: gradients(outputs, given, arriving)
            )
            times[name]["forward"].append(forward)
            times[name]["backward"].append(backward)
    return {
        name: {direction: statistics.median(values[_WARM_UPS:]) for direction, values in each.items()}
        for name, each in times.items()
    }


def _row(case: Case, direction: Direction, **more: Any) -> dict[str, Any]:
    return {"operation": case.operation, "shape": case.shape, "batch_size": case.batch, "direction": direction, **more}


def _figures(case: Case, direction: Direction, seconds: dict[str, float], dtype: torch.dtype) -> dict[str, Any]:
    work = least_work(case, direction, dtype.itemsize)
    ours, *others = seconds
    return {
        **{f"{key(name)}_seconds": value for name, value in seconds.items()},
        **{f"{key(name)}_ratio": seconds[name] / seconds[ours] for name in others},
        "bytes": work.bytes,
        "flops": work.flops,
    }


def against(limits: Limits, row: dict[str, Any], contender: str) -> dict[str, Any]:
    """A row of `measure` with its floor, and how much of it and of the copy bandwidth `contender` reaches."""
    seconds = row.get(f"{key(contender)}_seconds")
    if seconds is None:
        return row
    floor = limits.floor_seconds(row["bytes"], row["flops"])
    return {
        **row,
        "floor_seconds": floor,
        "of_floor_pct": 100 * floor / seconds,
        "copy_bandwidth_pct": 100 * row["bytes"] / limits.copy_bytes_per_second / seconds,
    }


def key(name: str) -> str:
    """A contender's name as part of a column's."""
    return name.lower().replace(" ", "_")
