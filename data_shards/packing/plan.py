"""Which samples go into which shard, with some left out because they cannot be decoded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np


class ShardPlan(NamedTuple):
    """One shard: its number in its split, the id of its first sample, the samples' positions in the source."""

    split: str
    number: int
    first: int
    positions: np.ndarray

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:06d}"


def shard_plans(
    splits: Mapping[str, int], left_out: Mapping[str, Collection[int]], samples_per_shard: int
) -> Iterator[ShardPlan]:
    """The shards of all splits (`splits`: number of positions in each), without the positions `left_out`."""
    for split, samples in splits.items():
        positions = kept_positions(samples, left_out.get(split, ()))
        for number, first in enumerate(range(0, len(positions), samples_per_shard)):
            yield ShardPlan(split, number, first, positions[first : first + samples_per_shard])


def kept_positions(samples: int, left_out: Collection[int]) -> np.ndarray:
    """The positions 0 … samples - 1 in order of their ids, without those left out: int64 [samples - len(left_out)].

    Samples from the end take the places of those left out, so that only the shards concerned and the last ones are
    other than without, and the rest, once packed, stays.
    """
    kept = samples - len(left_out)
    positions = np.arange(samples)
    holes = sorted(position for position in left_out if position < kept)
    positions[holes] = [position for position in range(kept, samples) if position not in left_out]
    return positions[:kept]
