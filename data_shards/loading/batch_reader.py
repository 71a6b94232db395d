"""Reads one batch: the samples asked for, cropped, augmented and labelled, or others in place of damaged ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from data_shards.augmentation.auto_augment import auto_augment
from data_shards.augmentation.config import Augmentation
from data_shards.augmentation.crops import Crops, evaluation_crops, training_crops
from data_shards.augmentation.draws import draw_for_device
from data_shards.config import DataConfig
from data_shards.decoding import dali as dali_reader
from data_shards.decoding.python import read_batch
from data_shards.errors import ShardDamage
from data_shards.loading.answer import Answer, Batch
from data_shards.loading.automatic import automatic_prefetch, automatic_workers
from data_shards.loading.choice import choose_reader
from data_shards.loading.substitution import healthy_ids
from data_shards.randomness import Draws
from data_shards.store.index import Split
from data_shards.streaming.sampler import Block
from data_shards.streaming.split import StreamedSplit


class Request(NamedTuple):
    """A batch that a reader is asked for. All that is random about the answer follows from the request.

    Attributes:
        epoch: None for evaluation, which shows samples as they are stored.
        ids: int64 [B].
        resolution: side of the images in pixels.
        blocks: where shards are streamed, what has to be read for this batch, in stored order.
    """

    epoch: int | None
    ids: np.ndarray
    resolution: int
    blocks: tuple[Block, ...] = ()


class BatchReader(Dataset):
    """Answers requests for batches, in a worker process or in the training process.

    Args:
        seed: of the run.
        substitute: whether to show other samples in place of damaged ones.
        streams: whether shards are read from one end to the other.

    Attributes:
        name: the reader that the configuration comes to on this machine: "python" or "dali".
        workers, prefetch: as in the recipe's `data`, with `auto` replaced by numbers.
    """

    def __init__(self, split: Split, config: DataConfig, seed: int, substitute: bool, streams: bool = False):
        self.split, self.config, self.seed, self.substitute = split, config, seed, substitute
        self.name = choose_reader(config.reader, config.augmentation, split)
        self.workers = automatic_workers() if config.workers == "auto" else config.workers
        self.prefetch = automatic_prefetch(self.workers) if config.prefetch == "auto" else config.prefetch
        if streams:
            # With DALI, requests are drawn up well before their samples are read, and once more after damage.
            ahead = (max(self.workers, 1) + 1) * self.prefetch + 4 if self.name == "dali" else 1
            self.split = StreamedSplit(split, self.name, keeps=ahead)

    @property
    def description(self) -> str:
        """What reads, in words: "python, workers 2", "dali on cuda:0, threads 8, sequentially"."""
        order = ", sequentially" if isinstance(self.split, StreamedSplit) else ""
        if self.name == "dali":
            return f"dali on {dali_reader.device()}, threads {max(self.workers, 1)}{order}"
        return f"python, workers {self.workers}{order}"

    def __getitem__(self, request: Request) -> Answer | ShardDamage:
        """The answer to a request. Damage is returned, not raised: torch would wrap a raised exception."""
        try:
            _ = self.split.index  # if the index itself is damaged, no other sample can help
            self.expect(request)
            try:
                return Answer(self._read(request), [])
            except ShardDamage:
                if not self.substitute:
                    raise
            healthy, skipped = self.substituted(request)
            return Answer(self._read(healthy), skipped)
        except ShardDamage as damage:
            return damage

    def expect(self, request: Request) -> None:
        """Begin to read what the request and those after it need, where shards are streamed."""
        if isinstance(self.split, StreamedSplit):
            self.split.expect(request.blocks)

    def substituted(self, request: Request) -> tuple[Request, list[ShardDamage]]:
        """The request with other samples in place of damaged ones, and the damage met on the way."""

        def check(sample: int) -> None:
            alone = request._replace(ids=np.array([sample]))
            read_batch(self.split, alone.ids, self.crops(alone))

        ids, damages = healthy_ids(request.ids, self.seed, request.epoch or 0, len(self.split), check)
        return request._replace(ids=ids), damages

    def crops(self, request: Request) -> Crops:
        """What to show of the samples asked for."""
        if request.epoch is None:
            rows = self.split.index[request.ids]
            crop, interpolation = self.config.evaluation_crop, self.config.evaluation_interpolation
            return evaluation_crops(rows["height"], rows["width"], request.resolution, crop, interpolation)
        draws = Draws(self.seed, request.epoch, request.ids)
        return _training_crops(self.split, self.config.augmentation, draws, request.resolution)

    def batch(self, request: Request, images: torch.Tensor) -> Batch:
        """The batch asked for, of the images that were read for it: uint8 [B, resolution, resolution, 3]."""
        if request.epoch is None:
            return _labelled(self.split, request.ids, images, np.empty((len(request.ids), 0), np.float32))
        draws = Draws(self.seed, request.epoch, request.ids)
        return _augmented(self.split, self.config.augmentation, draws, images)

    def _read(self, request: Request) -> Batch:
        images = read_batch(self.split, request.ids, self.crops(request))
        return self.batch(request, torch.from_numpy(images))


def training_batch(split: Split, augmentation: Augmentation, draws: Draws, resolution: int) -> Batch:
    """Samples as training shows them in an epoch, but for what the device does.

    Args:
        draws: for the samples, in the order of the batch.
        resolution: side of the images in pixels.

    Raises:
        ShardDamage: for the first sample that cannot be read or decoded.
    """
    images = read_batch(split, draws.ids, _training_crops(split, augmentation, draws, resolution))
    return _augmented(split, augmentation, draws, torch.from_numpy(images))


def _training_crops(split: Split, augmentation: Augmentation, draws: Draws, resolution: int) -> Crops:
    rows = split.index[draws.ids]
    return training_crops(augmentation, draws, rows["height"], rows["width"], resolution)


def _augmented(split: Split, augmentation: Augmentation, draws: Draws, images: torch.Tensor) -> Batch:
    if augmentation.auto_augment != "none":
        auto_augment(images.numpy(), augmentation.auto_augment, draws)
    return _labelled(split, draws.ids, images, draw_for_device(augmentation, draws, images.shape[1]))


def _labelled(split: Split, ids: np.ndarray, images: torch.Tensor, for_device: np.ndarray) -> Batch:
    labels = torch.from_numpy(split.index["label"][ids].astype(np.int64))
    return Batch(images, labels, torch.from_numpy(ids.copy()), torch.from_numpy(for_device))
