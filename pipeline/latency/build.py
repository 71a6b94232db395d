"""A latency table is built: every piece of a space's subnets is timed, and whole subnets to correct and to check."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from pipeline.errors import UsageError
from pipeline.latency.conditions import governor, megahertz
from pipeline.latency.correction import errors, fit_correction
from pipeline.latency.kept_rounds import KeptRounds
from pipeline.latency.pieces import Piece, key, network, parameters, pieces
from pipeline.latency.rounds import StopRule, Timed, time_in_rounds
from pipeline.latency.runtime import Prepared, Runtime
from pipeline.latency.table import Conditions, Entry, Table, Whole
from pipeline.predictor.encoding import Encoding
from pipeline.predictor.part_sums import covering
from pipeline.supernet.complexity import complexity
from pipeline.supernet.extract import plain_network
from pipeline.supernet.fold import fold_batch_norm
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet

HELD_OUT = 30  # subnets
_FITTED = 40  # further ones, that the correction is fitted to
_LEAST_SUBNETS = 20
_MOST_PARAMETERS = 400_000_000  # in memory at a time; the runtime keeps two copies


class Asked(NamedTuple):
    """What a table is to be of.

    Attributes:
        space: its resolutions are those to time at.
        machine: its name.
    """

    space: Space
    threads: int
    batch: int
    machine: str


class Progress(NamedTuple):
    """Who is told how far it is, each with how much is done and how much there will be."""

    preparing: Callable[[int, int], None]
    timing: Callable[[int, int], None]


class _Item(NamedTuple):
    """What is timed.

    Attributes:
        shape: of its input.
        outputs: numbers of its output.
    """

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    outputs: int
    parameters: int


def build(asked: Asked, runtime: Runtime, kept: KeptRounds, progress: Progress, rule: StopRule) -> Table:
    """Build the table.

    Raises:
        UsageError: where the space has too few subnets.
        RunFailure: where the machine is too busy.
    """
    load_before = os.getloadavg()[0]
    chosen = _subnets(Encoding(asked.space))
    pieces_of = {resolution: _pieces(asked, resolution) for resolution in asked.space.resolutions}
    items = {(str(side), name): item for side, found in pieces_of.items() for name, item in found.items()}
    items |= {("whole", str(subnet)): _whole(asked, subnet) for subnet in chosen}
    seconds: dict[tuple[str, str], float] = {}
    uncertainties: dict[tuple[str, str], float] = {}
    groups = []
    for number, group in enumerate(_groups(items, chosen)):
        timed = _time(runtime, number, [items[each] for each in group], kept, progress, rule)
        seconds |= dict(zip(group, timed.seconds.tolist(), strict=True))
        uncertainties |= dict(zip(group, timed.uncertainties.tolist(), strict=True))
        groups.append(timed)
    entries = {
        str(side): {
            name: Entry(
                seconds=seconds[str(side), name],
                uncertainty=uncertainties[str(side), name],
                elements=int(np.prod(item.shape)) + item.outputs,
                parameters=item.parameters,
            )
            for name, item in found.items()
        }
        for side, found in pieces_of.items()
    }
    features = [
        [entries[str(subnet.resolution)][key(piece)].features for piece in pieces(asked.space, subnet)]
        for subnet in chosen
    ]
    measured = np.array([seconds["whole", str(subnet)] for subnet in chosen])
    held_out = _held_out(len(chosen))
    correction = fit_correction([features[index] for index in np.flatnonzero(~held_out)], measured[~held_out])
    predicted = np.array([correction.constant + sum(map(correction.of, each)) for each in features])
    return Table(
        machine=asked.machine,
        cpu_cores=os.cpu_count() or 1,
        runtime=runtime.name,
        runtime_version=runtime.version,
        threads=asked.threads,
        batch=asked.batch,
        date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        conditions=_conditions(runtime, groups, load_before),
        space=json.loads(json.dumps(asdict(asked.space))),  # lists for tuples, as its file has them
        correction=correction,
        held_out=errors(predicted[held_out], measured[held_out]),
        subnets=tuple(
            Whole(
                subnet=str(subnet),
                seconds=measured[index],
                uncertainty=uncertainties["whole", str(subnet)],
                predicted_seconds=predicted[index],
                held_out=bool(held_out[index]),
            )
            for index, subnet in enumerate(chosen)
        ),
        pieces=entries,
    )


def _subnets(encoding: Encoding) -> list[Subnet]:
    """Subnets to time as wholes, from small to large, all different.

    Raises:
        UsageError: where the space has too few.
    """
    if encoding.size() < _LEAST_SUBNETS:
        raise UsageError(
            f"the space has {encoding.size()} subnets, of which a table needs {_LEAST_SUBNETS} to be fitted and checked"
        )
    wanted = min(HELD_OUT + _FITTED, encoding.size())
    generator, found = np.random.default_rng(0), dict[Subnet, None]()
    while len(found) < wanted:
        found |= dict.fromkeys(encoding.decode(row) for row in encoding.sample_spread(wanted, generator))
    return list(found)[:wanted]


def _held_out(count: int) -> np.ndarray:
    """Which subnets are: bool [count], as large a share of any number of them."""
    share = HELD_OUT / (HELD_OUT + _FITTED)
    return np.diff(np.floor(np.arange(count + 1) * share)) > 0


def _pieces(asked: Asked, resolution: int) -> dict[str, _Item]:
    """All pieces of the space's subnets at a resolution, by their keys."""
    space = replace(asked.space, resolutions=(resolution,))
    found: dict[str, _Item] = {}
    outputs: dict[str, torch.Size] = {}
    for subnet in covering(Encoding(space)):
        side = space.image_side(subnet)
        shape = torch.Size((asked.batch, 3, side, side))
        for piece in pieces(space, subnet):
            name = key(piece)
            if name not in found:
                outputs[name] = _output(piece, shape)
                found[name] = _Item(_maker(piece), shape, outputs[name].numel(), parameters(piece))
            shape = outputs[name]
    return found


def _maker(piece: Piece) -> Callable[[], nn.Module]:
    return lambda: network(piece)


@torch.no_grad()
def _output(piece: Piece, shape: torch.Size) -> torch.Size:
    with torch.device("meta"):
        return network(piece)(torch.empty(shape)).shape


def _whole(asked: Asked, subnet: Subnet) -> _Item:
    side = asked.space.image_side(subnet)
    size = complexity(asked.space, subnet).parameters
    return _Item(
        lambda: fold_batch_norm(plain_network(asked.space, subnet).eval()),
        (asked.batch, 3, side, side),
        asked.batch * asked.space.classes,
        size,
    )


def _groups(items: dict[tuple[str, str], _Item], chosen: Sequence[Subnet]) -> Iterator[list[tuple[str, str]]]:
    """What is timed together, as it fits into memory: pieces with whole subnets of their resolution."""
    resolutions = {("whole", str(subnet)): str(subnet.resolution) for subnet in chosen}
    group: list[tuple[str, str]] = []
    held = 0
    for each in sorted(items, key=lambda each: int(resolutions.get(each, each[0]))):
        if group and held + items[each].parameters > _MOST_PARAMETERS:
            yield group
            group, held = [], 0
        group.append(each)
        held += items[each].parameters
    yield group


def _time(
    runtime: Runtime, number: int, items: Sequence[_Item], kept: KeptRounds, progress: Progress, rule: StopRule
) -> Timed:
    """Times of a group. What was kept of it counts; it is prepared only where further rounds are needed."""
    prepared: list[Prepared] = []

    def run(index: int) -> float:
        for item in items[len(prepared) :]:
            generator = torch.Generator().manual_seed(len(prepared))
            prepared.append(runtime.prepare(item.make(), torch.randn(item.shape, generator=generator)))
            progress.preparing(len(prepared), len(items))
        return prepared[index]()

    runs = [lambda index=index: run(index) for index in range(len(items))]
    return time_in_rounds(
        runs, rule, kept.of(number, len(items)), lambda seconds: kept.add(number, seconds), progress.timing
    )


def _conditions(runtime: Runtime, groups: Sequence[Timed], load_before: float) -> Conditions:
    return Conditions(
        clock=runtime.clock,
        rounds=min(each.rounds for each in groups),
        noise=max(each.noise for each in groups),
        governor=governor(),
        megahertz=megahertz(),
        load_average=(load_before, os.getloadavg()[0]),
    )


def identity(asked: Asked, runtime: Runtime) -> dict[str, Any]:
    """What tells rounds of one table from those of another, as JSON values."""
    return {**asked._asdict(), "space": asdict(asked.space), "runtime": [runtime.name, runtime.version, runtime.clock]}
