"""The batches of training and of evaluation, in order, read ahead by a `BatchReader`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from data_shards.config import DataConfig
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.loading.answer import Batch
from data_shards.loading.batch_reader import BatchReader, Request
from data_shards.loading.prefetching import prefetched, prepare_workers
from data_shards.sampler import EpochSampler
from data_shards.store.index import Split
from data_shards.streaming.sampler import StreamSampler


class TrainLoader:
    """One rank's training batches: those of global step `start_step` up to, and without, `end_step`.

    Batches follow from (seed, step) alone. Starting at step k gives what a loader that started at 0 gives from its k-th
    batch on, and reads nothing of what came before; all ranks together show the same samples, however many they are.
    With sequential access, batches also follow from the number of ranks and workers, and to start within an epoch,
    part of a block is read again.

    It may be iterated over repeatedly.

    Args:
        split: what to read.
        config: how to read it.
        resolution: side of the images in pixels; a function of the global step where it varies.
        batch: global batch size; each of `world` ranks gets an equal slice.
        seed: of the run.

    Attributes:
        sampler: the `EpochSampler` or `StreamSampler` behind it (steps per epoch, epoch of a step).
        reader: what reads, in words: "python, workers 2", "dali on cuda:0, threads 8, sequentially".
        wait_seconds: time that the consumer has waited for data so far.
        skipped: damage to samples in whose place the batches given out show others; the consumer reports it, and
            empties the list.

    Raises:
        ShardUsageError: the batch cannot be shared by the ranks, or mixed in pairs; or there are fewer shards than
            streams.
    """

    def __init__(
        self,
        split: Split,
        config: DataConfig,
        resolution: int | Callable[[int], int],
        batch: int,
        seed: int,
        rank: int,
        world: int,
        start_step: int,
        end_step: int,
    ):
        self._reader = BatchReader(
            split, config, seed, substitute=config.on_corrupt == "skip", streams=config.access == "sequential"
        )
        self.reader = self._reader.description
        self.sampler = _sampler(split, config, batch, seed, world, self._reader.name)
        per_rank = self.sampler.per_rank(rank, world)
        if config.augmentation.mixes and per_rank % 2:
            raise ShardUsageError(
                f"batch: mixup and cutmix pair the samples of a process, so each needs an even number of them; "
                f"{batch} over {world} is {per_rank}"
            )
        self.wait_seconds = 0.0
        self.skipped: list[ShardDamage] = []
        self._steps = range(start_step, end_step)
        self._rank, self._world, self._per_rank = rank, world, per_rank
        self._resolution = resolution if callable(resolution) else lambda step: resolution
        if self._reader.workers and self._reader.name == "python":
            prepare_workers()  # while the caller builds the model

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Batch]:
        batches = prefetched(self._reader, _Requests(len(self._steps), self._requests), self._per_rank, self.skipped)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.wait_seconds += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    def _requests(self) -> Iterator[Request]:
        # Drawn up in this process, so that workers need no permutation, and the resolution function is never pickled.
        for step in self._steps:
            ids = self.sampler.rank_ids(step, self._rank, self._world)
            blocks = self.sampler.blocks(step, self._rank) if isinstance(self.sampler, StreamSampler) else ()
            yield Request(self.sampler.epoch(step), ids, self._resolution(step), blocks)


def _sampler(split: Split, config: DataConfig, batch: int, seed: int, world: int, reader: str) -> EpochSampler:
    if config.access == "random":
        return EpochSampler(len(split), batch, seed)
    shards = tuple(np.bincount(split.index["shard"], minlength=len(split.entry.shards)).tolist())  # samples of each
    if reader == "dali":
        streams = 1
    elif config.workers == "auto":
        raise ShardUsageError(
            "data.workers: must be a number with access: sequential, as the order of samples follows it"
        )
    else:
        # DataLoader deals requests out to its workers in turn, as the sampler deals steps out to streams.
        streams = max(config.workers, 1)
    return StreamSampler(len(split), batch, seed, shards, world, streams, config.shuffle_block)


class EvaluationLoader:
    """One rank's batches of a split as it is stored: all ranks together show each sample exactly once.

    Every rank gets the same number of batches, so that collective operations stay in step. Sizes of batches differ by
    no more than one; with fewer samples than ranks, some batches are empty.

    Args:
        split: what to read.
        config: how to read it; its augmentation is not applied.
        resolution: side of the images in pixels.
        batch: largest number of samples in one rank's batch.
        ids: the samples to read, in this order; the whole split by default.
        substitute: whether to show other samples in place of damaged ones where `config` allows it. Only for samples
            from which no result is computed.

    Attributes:
        reader: what reads, in words, as `TrainLoader.reader`.
        skipped: damage to samples in whose place others were shown.

    Raises:
        ShardUsageError: `batch` is not a positive number.
    """

    def __init__(
        self,
        split: Split,
        config: DataConfig,
        resolution: int,
        batch: int,
        rank: int,
        world: int,
        ids: Sequence[int] | np.ndarray | None = None,
        substitute: bool = False,
    ):
        if batch < 1:
            raise ShardUsageError(f"batch: {batch} is not a positive number")
        chosen = np.arange(len(split)) if ids is None else np.asarray(ids, np.int64)
        steps = math.ceil(len(chosen) / (batch * world))
        self._pieces = np.array_split(chosen, steps * world)[rank::world] if steps else []
        self._resolution = resolution
        self.skipped: list[ShardDamage] = []
        if config.evaluation_interpolation != "fast":  # which DALI does not have, whatever `auto` takes for training
            config = config.model_copy(update={"reader": "python"})
        self._reader = BatchReader(split, config, seed=0, substitute=substitute and config.on_corrupt == "skip")
        self.reader = self._reader.description

    def __len__(self) -> int:
        return len(self._pieces)

    def __iter__(self) -> Iterator[Batch]:
        requests = [Request(None, ids, self._resolution) for ids in self._pieces]
        return prefetched(self._reader, requests, max(map(len, self._pieces), default=0), self.skipped)


class _Requests:
    """Requests that are drawn up one by one, and whose number is known."""

    def __init__(self, length: int, draw_up: Callable[[], Iterator[Request]]):
        self._length, self._draw_up = length, draw_up

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Request]:
        return self._draw_up()
