"""The project's own readers, and the limit that they are held against: reading and decoding, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Generator

import simplejpeg
import torch

from data_shards.augmentation.config import Augmentation
from data_shards.config import DataConfig
from data_shards.loading.choice import ReaderName
from data_shards.loading.loader import TrainLoader
from data_shards.sampler import EpochSampler
from data_shards.store.index import open_split
from pipeline.bench.reading.photographs import Photographs
from pipeline.bench.reading.shown import BATCH, PREFETCH, RESOLUTION, SEED, Shown

_FOR_EVER = 1 << 40  # steps
_RANDOM_RESIZED = Augmentation(crop="random_resized", flip=True)


def decode_alone(data: Photographs, workers: int, endless: bool) -> Generator[Shown, None, None]:
    """Whole pictures, read and decoded in this process."""
    split = open_split(data.shards, "train")
    sampler = EpochSampler(len(split), BATCH, SEED)
    for step in itertools.count() if endless else range(sampler.steps_per_epoch):
        ids = sampler.ids(step)
        pictures = [simplejpeg.decode_jpeg(split.read(sample)) for sample in ids.tolist()]
        yield Shown(pictures, torch.tensor(split.index["label"][ids]), torch.tensor(ids))


def python_reader(data: Photographs, workers: int, endless: bool) -> Generator[Shown, None, None]:
    return _loaded(data, "python", workers, endless)


def dali_reader(data: Photographs, workers: int, endless: bool) -> Generator[Shown, None, None]:
    return _loaded(data, "dali", workers, endless)


def _loaded(data: Photographs, reader: ReaderName, workers: int, endless: bool) -> Generator[Shown, None, None]:
    split = open_split(data.shards, "train")
    config = DataConfig(
        shards=data.shards, reader=reader, workers=workers, prefetch=PREFETCH, augmentation=_RANDOM_RESIZED
    )
    end = _FOR_EVER if endless else len(split) // BATCH
    for batch in TrainLoader(split, config, RESOLUTION, BATCH, SEED, rank=0, world=1, start_step=0, end_step=end):
        yield Shown(batch.images, batch.labels, batch.ids)
