"""The order of training samples: a pure function of (seed, epoch), hence the same on all ranks and after a resume."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from data_shards.errors import ShardUsageError
from data_shards.randomness import Draws, Purpose

_AT_A_TIME = 1 << 16  # ids that are drawn for together: few enough for the cache


@dataclass(frozen=True)
class EpochSampler:
    """Which samples make up the global batch of each global step, where each sample is read at its place.

    An epoch consists of the `samples // batch` whole batches of one permutation. The samples that remain are not shown
    in that epoch; the next one has another permutation.

    Args:
        samples: number of samples in the split.
        batch: global batch size, over all ranks.
        seed: of the run.

    Raises:
        ShardUsageError: the batch is empty, or larger than the split.
    """

    samples: int
    batch: int
    seed: int

    def __post_init__(self):
        if self.batch < 1:
            raise ShardUsageError(f"batch: {self.batch} is not a positive number")
        if self.batch > self.samples:
            raise ShardUsageError(f"batch: {self.batch} is more than the split's {self.samples} samples")

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches in an epoch."""
        return self.samples // self.batch

    def epoch(self, step: int) -> int:
        """The epoch that a global step belongs to."""
        return step // self.steps_per_epoch

    def ids(self, step: int) -> np.ndarray:
        """Sample ids of the global batch at a global step: int64 [batch]."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return _permutation(self.samples, self.seed, epoch)[position * self.batch : (position + 1) * self.batch]

    def rank_ids(self, step: int, rank: int, world: int) -> np.ndarray:
        """One rank's equal, contiguous slice of `ids(step)`: int64 [batch / world]."""
        count = self.per_rank(rank, world)
        return self.ids(step)[rank * count : (rank + 1) * count]

    def per_rank(self, rank: int, world: int) -> int:
        """Number of samples in each rank's slice.

        Raises:
            ShardUsageError: the batch cannot be cut into equal slices, or there is no such rank.
        """
        if self.batch % world:
            raise ShardUsageError(f"batch: {self.batch} cannot be shared equally by {world} processes")
        if not 0 <= rank < world:
            raise ShardUsageError(f"rank: {rank} is not one of 0 … {world - 1}")
        return self.batch // world


@lru_cache(maxsize=2)  # the current epoch and, while prefetching, the next
def _permutation(samples: int, seed: int, epoch: int) -> np.ndarray:
    bits = np.empty(samples, np.uint64)
    for first in range(0, samples, _AT_A_TIME):
        ids = np.arange(first, min(first + _AT_A_TIME, samples))
        bits[first : first + len(ids)] = Draws(seed, epoch, ids).bits(Purpose.ORDER)
    order = np.argsort(bits, kind="stable")
    order.setflags(write=False)  # shared by all callers
    return order
