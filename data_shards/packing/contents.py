"""How shards are filled with samples; some may be left out, because they cannot be decoded."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np


class ShardContents(NamedTuple):
    """What goes into a shard.

    Attributes:
        number: of the shard in its split.
        first: id of its first sample.
        positions: of its samples in the source, int64 [samples].
    """

    split: str
    number: int
    first: int
    positions: np.ndarray

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:06d}"


def shard_contents(
    splits: Mapping[str, int], left_out: Mapping[str, Collection[int]], samples_per_shard: int
) -> Iterator[ShardContents]:
    """The shards of all splits, in order.

    Args:
        splits: number of positions in each split.
        left_out: positions to leave out, by split.
        samples_per_shard: largest number of samples in a shard.
    """
    for split, samples in splits.items():
        positions = kept_positions(samples, left_out.get(split, ()))
        for number, first in enumerate(range(0, len(positions), samples_per_shard)):
            yield ShardContents(split, number, first, positions[first : first + samples_per_shard])


def kept_positions(samples: int, left_out: Collection[int]) -> np.ndarray:
    """The positions 0 … samples - 1 in order of their ids, without those left out: int64 [samples - len(left_out)].

    Samples from the end take the places of those left out. So only their shards and the last ones change, and shards
    that are packed already stay as they are.
    """
    kept = samples - len(left_out)
    positions = np.arange(samples)
    holes = sorted(position for position in left_out if position < kept)
    positions[holes] = [position for position in range(kept, samples) if position not in left_out]
    return positions[:kept]
