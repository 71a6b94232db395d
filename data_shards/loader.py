"""Batches for training and evaluation: read ahead by worker processes, each global step addressed by its number."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch.utils.data import DataLoader, Dataset

from data_shards import dali_reader
from data_shards.augment import Augmentation, Plan, evaluation_plan, plan
from data_shards.auto_augment import auto_augment
from data_shards.device_draws import draw_for_device
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.index import Split
from data_shards.python_reader import read_batch
from data_shards.reader_choice import ReaderName, choose_reader
from data_shards.reader_processes import end_with_trainer, reader_context
from data_shards.sampler import EpochSampler
from data_shards.substitution import healthy_ids


class DataConfig(BaseModel):
    """Where the images are and how they are read.

    `shards`: folder of a packed data set. `reader`: `python` (libjpeg-turbo and OpenCV), `dali` (NVIDIA DALI; on the
    GPU where there is one) or `auto`, which is `dali` where it is installed, there is a GPU, and it does all that is
    asked for. `workers`: processes that read ahead, per rank; 0 reads in the training process itself; for DALI, threads
    that read and as many that decode, at least one. `prefetch`: batches that each worker has ready. `evaluation_crop`:
    side of the square that evaluation shows, as a share of the short side (0.875 is ImageNet's convention).

    `on_corrupt`: what a damaged training sample does: `fail` ends the run; `skip` shows another sample, with its own
    label, in its place (see `data_shards.substitution`). `max_corrupt`: the largest share of the training samples that
    may be found damaged before a run that skips fails after all. Samples that results are computed from are never
    skipped: evaluation fails where one is damaged, since its figures would be those of another data set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    shards: Path
    augmentation: Augmentation = Augmentation()
    reader: ReaderName = "python"
    workers: int = Field(default=1, ge=0)
    prefetch: int = Field(default=2, ge=1)
    evaluation_crop: float = Field(default=1.0, gt=0, le=1)
    on_corrupt: Literal["fail", "skip"] = "fail"
    max_corrupt: float = Field(default=0.001, ge=0, lt=1)


class Batch(NamedTuple):
    """`images`: uint8 [B, resolution, resolution, 3], RGB. `labels` and `ids`: int64 [B].

    `draws`: float32 [B, COLUMNS], what the device has yet to do to them (`data_shards.device_augment`); [B, 0] where
    there is nothing to do, as for evaluation. All on the CPU, but for the images where DALI left them on the GPU.
    """

    images: torch.Tensor
    labels: torch.Tensor
    ids: torch.Tensor
    draws: torch.Tensor


class _Request(NamedTuple):
    """What a worker is asked for; all that is random about it follows from these."""

    epoch: int | None  # None: for evaluation, as stored
    ids: np.ndarray
    resolution: int


class _Answer(NamedTuple):
    """What a worker gives back: a batch, and the damage to samples that it shows others in place of."""

    batch: Batch
    skipped: list[ShardDamage]


class TrainLoader:
    """One rank's batches from global step `start_step` up to, and without, `end_step`; iterable once or repeatedly.

    Batches follow from (seed, step) alone: starting at step k gives what a loader from 0 gives from its k-th batch on,
    without reading what came before, and ranks together show the same samples whatever their number.

    Args:
        split, config: what to read, and how.
        resolution: side of the images in pixels; a function of the global step where it varies.
        batch: global batch size; each of `world` ranks gets an equal slice.

    Attributes:
        sampler: the `EpochSampler` behind it (steps per epoch, epoch of a step).
        reader: what reads, in words: "python", "dali on cpu", "dali on cuda:0".
        wait_seconds: time that the consumer has waited for data so far.
        skipped: damage to samples that the batches given out show others in place of, as it was met; the consumer
            reports it, and empties the list.
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
        self.sampler = EpochSampler(samples=len(split), batch=batch, seed=seed)
        share = len(self.sampler.rank_ids(start_step, rank, world))  # complains now about a batch that cannot be shared
        if config.augmentation.mixes and share % 2:
            raise ShardUsageError(
                f"batch: mixup and cutmix pair the samples of a process, so each needs an even number of them; "
                f"{batch} over {world} is {share}"
            )
        self.wait_seconds = 0.0
        self.skipped: list[ShardDamage] = []
        self._steps = range(start_step, end_step)
        self._rank, self._world, self._share = rank, world, share
        self._resolution = resolution if callable(resolution) else lambda step: resolution
        self._reader = _BatchReader(split, config, seed, substitute=config.on_corrupt == "skip")
        self.reader = self._reader.description
        if config.workers and self.reader == "python":
            reader_context(__name__)  # its server gets ready while the caller builds the model

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Batch]:
        requests = _Requests(len(self._steps), self._requests)
        batches = _read_ahead(self._reader, requests, self._share, self.skipped)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.wait_seconds += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    def _requests(self) -> Iterator[_Request]:
        # Drawn up in this process: workers need neither the permutation nor a resolution function that pickles.
        for step in self._steps:
            ids = self.sampler.rank_ids(step, self._rank, self._world)
            yield _Request(self.sampler.epoch(step), ids, self._resolution(step))


class EvaluationLoader:
    """One rank's share of a split as stored, without augmentation: over all ranks, each sample exactly once.

    Every rank gets the same number of batches (so that collective operations stay in step), of at most `batch` samples
    each, whose sizes differ by no more than one. With fewer samples than ranks, some batches are empty.

    Args:
        batch: largest number of samples in one rank's batch.
        ids: the samples to read, in this order; the whole split by default.
        substitute: where `config` says so, show other samples in place of damaged ones: for samples that no figure is
            computed from.

    Attributes:
        reader: as `TrainLoader.reader`.
        skipped: damage to samples that others were shown in place of, as it was met.
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
        self._reader = _BatchReader(split, config, seed=0, substitute=substitute and config.on_corrupt == "skip")
        self.reader = self._reader.description

    def __len__(self) -> int:
        return len(self._pieces)

    def __iter__(self) -> Iterator[Batch]:
        requests = [_Request(None, ids, self._resolution) for ids in self._pieces]
        return _read_ahead(self._reader, requests, max(map(len, self._pieces), default=0), self.skipped)


class _Requests:
    """A sized iterable, which DataLoader wants as its sampler, over requests drawn up one by one."""

    def __init__(self, length: int, draw_up: Callable[[], Iterator[_Request]]):
        self._length, self._draw_up = length, draw_up

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[_Request]:
        return self._draw_up()


class _BatchReader(Dataset):
    """Answers requests in a worker process. Damage is returned, not raised: torch would wrap a raised exception."""

    def __init__(self, split: Split, config: DataConfig, seed: int, substitute: bool):
        self.split, self.config, self.seed, self.substitute = split, config, seed, substitute
        self.name = choose_reader(config.reader, config.augmentation, split, config.on_corrupt == "skip")

    @property
    def description(self) -> str:
        return self.name if self.name == "python" else f"dali on {dali_reader.device()}"

    def __getitem__(self, request: _Request) -> _Answer | ShardDamage:
        try:
            return self._answer(request)
        except ShardDamage as damage:
            return damage

    def _answer(self, request: _Request) -> _Answer:
        _ = self.split.index  # its damage is no sample's, and nothing can stand in for it
        try:
            return _Answer(self.batch(request, self._images(request)), [])
        except ShardDamage:
            if not self.substitute:
                raise

        def read_alone(sample: int) -> torch.Tensor:
            return self._images(request._replace(ids=np.array([sample])))

        ids, damages = healthy_ids(request.ids, self.seed, request.epoch or 0, len(self.split), read_alone)
        request = request._replace(ids=ids)
        return _Answer(self.batch(request, self._images(request)), damages)

    def _images(self, request: _Request) -> torch.Tensor:
        return torch.from_numpy(read_batch(self.split, request.ids, self.plan(request)))

    def plan(self, request: _Request) -> Plan:
        """What to show of the samples asked for."""
        epoch, ids, resolution = request
        if epoch is None:
            rows = self.split.index[ids]
            return evaluation_plan(rows["height"], rows["width"], resolution, self.config.evaluation_crop)
        return _training_plan(self.split, self.config.augmentation, self.seed, epoch, ids, resolution)

    def batch(self, request: _Request, images: torch.Tensor) -> Batch:
        """The answer to a request, of the images that were read for it."""
        epoch, ids, _ = request
        if epoch is None:
            return _batch(self.split, ids, images, np.empty((len(ids), 0), np.float32))
        return _training_batch(self.split, self.config.augmentation, self.seed, epoch, ids, images)


def training_batch(
    split: Split, augmentation: Augmentation, seed: int, epoch: int, ids: np.ndarray, resolution: int
) -> Batch:
    """Samples `ids` (int64 [B]) as training shows them in an epoch, but for what the device does.

    Raises ShardDamage for the first sample that cannot be read or decoded.
    """
    images = read_batch(split, ids, _training_plan(split, augmentation, seed, epoch, ids, resolution))
    return _training_batch(split, augmentation, seed, epoch, ids, torch.from_numpy(images))


def _training_plan(
    split: Split, augmentation: Augmentation, seed: int, epoch: int, ids: np.ndarray, resolution: int
) -> Plan:
    rows = split.index[ids]
    return plan(augmentation, seed, epoch, ids, rows["height"], rows["width"], resolution)


def _training_batch(
    split: Split, augmentation: Augmentation, seed: int, epoch: int, ids: np.ndarray, images: torch.Tensor
) -> Batch:
    if augmentation.auto_augment != "none":
        auto_augment(images.numpy(), augmentation.auto_augment, seed, epoch, ids)
    return _batch(split, ids, images, draw_for_device(augmentation, seed, epoch, ids, images.shape[1]))


def _batch(split: Split, ids: np.ndarray, images: torch.Tensor, draws: np.ndarray) -> Batch:
    labels = torch.from_numpy(split.index["label"][ids].astype(np.int64))
    return Batch(images, labels, torch.from_numpy(ids.copy()), torch.from_numpy(draws))


def _read_ahead(
    reader: _BatchReader, requests: _Requests | Sequence[_Request], largest: int, skipped: list[ShardDamage]
) -> Iterator[Batch]:
    """The answers to requests of at most `largest` samples, in order, from the reader that the recipe comes to.

    Adds to `skipped` with each what it skips.
    """
    if reader.name == "dali":
        return _through_dali(reader, requests, largest)
    return _through_workers(reader, requests, skipped)


def _through_dali(reader: _BatchReader, requests: _Requests | Sequence[_Request], largest: int) -> Iterator[Batch]:
    config = reader.config
    batches = dali_reader.read_batches(
        reader.split,
        ((request.ids, reader.plan(request)) for request in requests),
        largest,
        threads=max(config.workers, 1),
        prefetch=config.prefetch,
        beyond_border=config.augmentation.crop == "padded",
    )
    for request, images in zip(requests, batches, strict=True):
        batch = reader.batch(request, images)
        # What is not on the GPU yet gets there without a wait only from pinned memory.
        yield Batch(*(part if part.is_cuda else part.pin_memory() for part in batch)) if images.is_cuda else batch


def _through_workers(
    reader: _BatchReader, requests: _Requests | Sequence[_Request], skipped: list[ShardDamage]
) -> Iterator[Batch]:
    workers = reader.config.workers
    loader = DataLoader(
        reader,
        sampler=requests,
        batch_size=None,
        collate_fn=_unchanged,
        num_workers=workers,
        prefetch_factor=reader.config.prefetch if workers else None,
        multiprocessing_context=reader_context(__name__) if workers else None,
        worker_init_fn=end_with_trainer,
        pin_memory=torch.cuda.is_available(),
    )
    for answer in loader:
        if isinstance(answer, ShardDamage):
            raise answer
        skipped += answer.skipped
        yield answer.batch


def _unchanged(batch):
    return batch
