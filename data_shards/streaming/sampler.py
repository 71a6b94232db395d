"""The order of training samples where shards are read from one end to the other.

In each epoch the shards are put into a random order. Their samples, in this order, are cut into equal stretches, one
for each stream; there is a stream for each worker of each rank. A stream is shuffled in blocks. So it is known without
reading anything what a step shows, and a resume begins with the block from which its step is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

from data_shards.errors import ShardUsageError
from data_shards.randomness import Draws, Purpose
from data_shards.sampler import EpochSampler

# Samples to be read one after the other: runs of consecutive ids, each within a shard (first id, last id + 1).
Block: TypeAlias = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class StreamSampler(EpochSampler):
    """Which samples make up each rank's batches, and what has to be read for them.

    An epoch has as many steps as with `EpochSampler`, and shows no sample twice; the samples that remain at the end of
    its order, fewer than `batch`, are not shown. Within an epoch a rank's streams take turns, step by step. The order
    depends on `world`, `streams` and `block`.

    Args:
        shards: number of samples in each shard, in the order of their ids.
        world: number of ranks.
        streams: number of streams of each rank.
        block: number of samples that are read and shuffled at a time.

    Raises:
        ShardUsageError: there are fewer shards than streams.
    """

    shards: tuple[int, ...]
    world: int
    streams: int
    block: int

    def __post_init__(self):
        super().__post_init__()
        if len(self.shards) < self.world * self.streams:
            raise ShardUsageError(
                f"data.access: sequential: {len(self.shards)} shards are fewer than the {self.world * self.streams} "
                f"streams that read at once ({self.world} processes × {self.streams} workers): use fewer workers, "
                "pack with a smaller --samples-per-shard, or read with access: random"
            )

    def ids(self, step: int) -> np.ndarray:
        """Sample ids of the global batch at a global step: int64 [batch], one rank after the other."""
        return np.concatenate([self.rank_ids(step, rank, self.world) for rank in range(self.world)])

    def rank_ids(self, step: int, rank: int, world: int) -> np.ndarray:
        """One rank's part of `ids(step)`: int64 [batch / world]. `world` must be the sampler's."""
        count = self.per_rank(rank, world)
        begin, first, length = self._stretch(step, rank)
        numbers = range(first // self.block, (first + count - 1) // self.block + 1)
        shown = np.concatenate([self._shuffled(step, begin, length, number) for number in numbers])
        skipped = first - numbers.start * self.block
        return self._order(step).ids(shown[skipped : skipped + count])

    def blocks(self, step: int, rank: int) -> tuple[Block, ...]:
        """The blocks from which a rank's samples of a step are drawn, and the block after them, to be read in time."""
        count = self.per_rank(rank, self.world)
        begin, first, length = self._stretch(step, rank)
        last = min((first + count - 1) // self.block + 1, (length - 1) // self.block)
        order = self._order(step)
        return tuple(
            order.runs(begin + number * self.block, begin + min((number + 1) * self.block, length))
            for number in range(first // self.block, last + 1)
        )

    def _stretch(self, step: int, rank: int) -> tuple[int, int, int]:
        """Of a step's stream: where it begins in the epoch's order, where the step begins in it, and its length."""
        count, steps = self.batch // self.world, self.steps_per_epoch
        turn, stream = divmod(step % steps, self.streams)
        taken = [(steps - each + self.streams - 1) // self.streams for each in range(self.streams)]  # steps of each
        return (rank * steps + sum(taken[:stream])) * count, turn * count, taken[stream] * count

    def _shuffled(self, step: int, begin: int, length: int, number: int) -> np.ndarray:
        """The positions in the epoch's order that a block consists of, shuffled: int64 [block or fewer]."""
        first, end = begin + number * self.block, begin + min((number + 1) * self.block, length)
        return _permuted(self.seed, Purpose.BLOCK_ORDER, self.epoch(step), first, end)

    def _order(self, step: int) -> _EpochOrder:
        return _epoch_order(self.shards, self.seed, self.epoch(step))


class _EpochOrder:
    """All samples in the order in which they are read in an epoch: shard by shard, each as it is stored."""

    def __init__(self, shards: tuple[int, ...], seed: int, epoch: int):
        counts = np.asarray(shards, np.int64)
        order = _permuted(seed, Purpose.SHARD_ORDER, epoch, 0, len(shards))
        self._ends = np.cumsum(counts[order])  # positions at which a shard's samples end
        # By shard: what has to be added to a position in this order to get the id.
        self._shift = (np.cumsum(counts) - counts)[order] - (self._ends - counts[order])

    def ids(self, positions: np.ndarray) -> np.ndarray:
        """The ids of the samples at positions in this order: int64 [B] both."""
        return positions + self._shift[np.searchsorted(self._ends, positions, side="right")]

    def runs(self, first: int, end: int) -> Block:
        """The samples from position `first` up to, and without, `end`."""
        shards = range(np.searchsorted(self._ends, first, side="right"), len(self._ends))
        runs = []
        for shard in shards:
            last = min(end, int(self._ends[shard]))
            runs.append((first + int(self._shift[shard]), last + int(self._shift[shard])))
            first = last
            if first == end:
                break
        return tuple(runs)


@lru_cache(maxsize=2)  # the current epoch and, while prefetching, the next
def _epoch_order(shards: tuple[int, ...], seed: int, epoch: int) -> _EpochOrder:
    return _EpochOrder(shards, seed, epoch)


@lru_cache(maxsize=64)  # consecutive steps are drawn from the same blocks
def _permuted(seed: int, purpose: Purpose, epoch: int, first: int, end: int) -> np.ndarray:
    """The numbers from `first` up to, and without, `end`, in random order: int64 [end - first], read-only."""
    numbers = np.arange(first, end)
    order = numbers[Draws(seed, epoch, numbers).order(purpose)]
    order.setflags(write=False)  # shared by all callers
    return order
