"""One batch: the samples asked for, read, cropped and labelled; with others in place of damaged ones where allowed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from data_shards.augmentation.auto_augment import auto_augment
from data_shards.augmentation.crops import Augmentation, Plan, evaluation_plan, plan
from data_shards.augmentation.draws import draw_for_device
from data_shards.config import DataConfig
from data_shards.decoding import dali as dali_reader
from data_shards.decoding.python import read_batch
from data_shards.errors import ShardDamage
from data_shards.loading.answer import Answer, Batch
from data_shards.loading.choice import choose_reader
from data_shards.loading.machine_share import batches_ahead, workers_here
from data_shards.loading.substitution import healthy_ids
from data_shards.store.index import Split
from data_shards.streaming.sampler import Block
from data_shards.streaming.split import StreamedSplit


class Request(NamedTuple):
    """What a worker is asked for; all that is random about it follows from these."""

    epoch: int | None  # None: for evaluation, as stored
    ids: np.ndarray
    resolution: int
    blocks: tuple[Block, ...] = ()  # to be read in the order in which they are stored, where shards are streamed


class BatchReader(Dataset):
    """Answers requests in a worker process. Damage is returned, not raised: torch would wrap a raised exception."""

    def __init__(self, split: Split, config: DataConfig, seed: int, substitute: bool, streams: bool = False):
        self.split, self.config, self.seed, self.substitute = split, config, seed, substitute
        self.name = choose_reader(config.reader, config.augmentation, split)
        self.workers = workers_here() if config.workers == "auto" else config.workers
        self.prefetch = batches_ahead(self.workers) if config.prefetch == "auto" else config.prefetch
        if streams:
            # DALI's requests are drawn up ahead of what reads for them, and gone through again after damage.
            ahead = (max(self.workers, 1) + 1) * self.prefetch + 4 if self.name == "dali" else 1
            self.split = StreamedSplit(split, self.name, keeps=ahead)

    @property
    def description(self) -> str:
        order = ", sequentially" if isinstance(self.split, StreamedSplit) else ""
        if self.name == "dali":
            return f"dali on {dali_reader.device()}, threads {max(self.workers, 1)}{order}"
        return f"python, workers {self.workers}{order}"

    def __getitem__(self, request: Request) -> Answer | ShardDamage:
        try:
            _ = self.split.index  # its damage is no sample's, and nothing can stand in for it
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
        """Begins to read ahead what the request and those after it need, where shards are streamed."""
        if isinstance(self.split, StreamedSplit):
            self.split.expect(request.blocks)

    def _read(self, request: Request) -> Batch:
        images = read_batch(self.split, request.ids, self.plan(request))
        return self.batch(request, torch.from_numpy(images))

    def substituted(self, request: Request) -> tuple[Request, list[ShardDamage]]:
        """The request with other samples in place of damaged ones, and the damage met on the way."""

        def check(sample: int) -> None:
            alone = request._replace(ids=np.array([sample]))
            read_batch(self.split, alone.ids, self.plan(alone))

        ids, damages = healthy_ids(request.ids, self.seed, request.epoch or 0, len(self.split), check)
        return request._replace(ids=ids), damages

    def plan(self, request: Request) -> Plan:
        """What to show of the samples asked for."""
        epoch, ids, resolution, _ = request
        if epoch is None:
            rows = self.split.index[ids]
            return evaluation_plan(rows["height"], rows["width"], resolution, self.config.evaluation_crop)
        return _training_plan(self.split, self.config.augmentation, self.seed, epoch, ids, resolution)

    def batch(self, request: Request, images: torch.Tensor) -> Batch:
        """The answer to a request, of the images that were read for it."""
        epoch, ids = request.epoch, request.ids
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
