"""Subnets near a number of MACs, drawn as often as a space has them there (AttentiveNAS, Wang et al., CVPR 2021, §3.2).

Random subnets are sorted by their MACs into the bins of a table. A bin is drawn with its frequency in the table. Then
each choice draws a value by itself, with its frequency among the bin's subnets; all of them anew, until the subnet that
they make falls into the bin.

The table is drawn again wherever it is needed, of the run's seed alone: so all processes and every resumed start have
the same one, and none can be lost or damaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from data_shards.randomness import Purpose
from pipeline.methods.draws import Key, step_bits
from pipeline.supernet.complexity import complexity
from pipeline.supernet.dimension import Dimension
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet

_MOST_TRIES = 101
_BINS = 70  # from the smallest subnet to the full model, as bins of 25 million MACs make of AttentiveNAS's own space


@dataclass(frozen=True)
class NearTarget:
    """Draws a bin for the slot, and for each of its candidates a subnet that falls into it.

    Attributes:
        bin_macs: width of a bin; None for a seventieth of the way from the smallest subnet to the full model.
        table: number of random subnets in it, which the frequencies are counted over.
    """

    space: Space
    bin_macs: float | None
    table: int

    def __call__(self, key: Key) -> Subnet:
        """A subnet of the bin; where 101 tries find none, the last of them."""
        width = self.bin_macs or _width(self.space)
        drawn = _table(self.space, width, self.table, key.seed)
        generator = key.generator
        target = drawn.bins[_below(len(drawn.bins), generator)]
        generator.manual_seed(_below(1 << 62, generator) + key.candidate)  # candidates may be drawn in any order
        subnet = self.space.largest()
        for _ in range(_MOST_TRIES):
            subnet = self._near(drawn.of_bin[target], generator)
            if bin_of(self.space, subnet, width) == target:
                break
        return subnet

    def _near(self, chosen: Mapping[Dimension, Sequence[Any]], generator: torch.Generator) -> Subnet:
        """A subnet with each value drawn with its frequency, whatever the MACs of all together."""
        values = ((each, of[_below(len(of), generator)]) for each, of in chosen.items())
        return self.space.assemble(dict(values))


def bin_of(space: Space, subnet: Subnet, width: float) -> int:
    """The bin of a subnet at its resolution: its MACs over the width, rounded."""
    return round(complexity(space, subnet).macs / width)


@dataclass(frozen=True)
class _Table:
    """The bin of each random subnet; and of each bin the values that its subnets have, by dimension."""

    bins: tuple[int, ...]
    of_bin: Mapping[int, Mapping[Dimension, Sequence[Any]]]


@lru_cache(maxsize=4)
def _width(space: Space) -> float:
    """Of a bin, where the recipe gives none."""
    least, most = (complexity(space, each).macs for each in (space.smallest(), space.largest()))
    return max((most - least) / _BINS, 1.0)


@lru_cache(maxsize=4)
def _table(space: Space, width: float, size: int, seed: int) -> _Table:
    generator = torch.Generator().manual_seed(step_bits(seed, 0, Purpose.MACS_TABLE, 0))
    bins: list[int] = []
    of_bin: dict[int, dict[Dimension, list[Any]]] = {}
    for _ in range(size):
        subnet = space.sample(generator)
        bins.append(bin_of(space, subnet, width))
        values = of_bin.setdefault(bins[-1], {})
        for dimension, value in space.choices(subnet).items():
            if dimension.what != "resolution" or space.loaded is not None:  # else it is the step's
                values.setdefault(dimension, []).append(value)
    return _Table(tuple(bins), of_bin)


def _below(limit: int, generator: torch.Generator) -> int:
    return int(torch.randint(limit, (), generator=generator))
