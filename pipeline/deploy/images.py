"""Real images that an export works with: to calibrate on, to choose layers by, and to report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from data_shards.augmentation.normalise import normalise
from data_shards.config import DataConfig
from data_shards.loading.loader import Batch, EvaluationLoader
from data_shards.open_data import Data
from data_shards.randomness import DataSetDraws, Purpose
from data_shards.store.damage_record import DamageRecord
from data_shards.store.index import Split
from pipeline.evaluation.evaluate import tell_skipped

_CALIBRATION, _CHOICE = 512, 2000  # at most
_BATCH = 64


@dataclass(frozen=True)
class Images:
    """Images in memory as they were read, uint8 [N, H, W, 3], with labels, in batches."""

    batches: tuple[Batch, ...]

    def __len__(self) -> int:
        return sum(len(batch.labels) for batch in self.batches)

    @property
    def labels(self) -> Tensor:
        """int64 [all images]."""
        return torch.cat([batch.labels for batch in self.batches])

    def normalised(self) -> Iterator[Tensor]:
        """Each batch as networks take it: float32 [N, 3, H, W]."""
        for batch in self.batches:
            yield normalise(batch.images)

    def first(self, least: int) -> Images:
        """The first batches that have so many images together; all, where there are fewer."""
        ends = np.cumsum([len(batch.labels) for batch in self.batches])
        return Images(self.batches[: int(np.searchsorted(ends, least)) + 1])


class Sample(NamedTuple):
    """What an INT8 file is made by; no image is in both.

    Attributes:
        calibration: training images.
        choice: to choose by: validation images, or where there are none, other training images.
        chosen_on: in a word, what these are.
    """

    calibration: Images
    choice: Images
    chosen_on: str


def sample(data: Data, config: DataConfig, side: int) -> Sample:
    """A random choice of images of this side, always the same for a data set."""
    order = _order(data.train)
    held = data.validation
    # All training images are few, where half of them are no more than are wanted.
    count = _CALIBRATION if held is not None else min(_CALIBRATION, len(order) // 2)
    calibration = _read(data.train, config, side, order[:count], substitute=True)
    if held is not None:
        return Sample(calibration, _read(held, config, side, _order(held)[:_CHOICE], False), "validation")
    rest = order[count : count + _CHOICE]
    return Sample(calibration, _read(data.train, config, side, rest, True), "training")


def _order(split: Split) -> np.ndarray:
    return DataSetDraws(np.arange(len(split))).order(Purpose.CALIBRATION)


def _read(split: Split, config: DataConfig, side: int, ids: np.ndarray, substitute: bool) -> Images:
    loader = EvaluationLoader(split, config, side, _BATCH, rank=0, world=1, ids=ids, substitute=substitute)
    # Out of the shared memory that a reader hands them over in, which is little, as they are kept.
    batches = tuple(Batch(*(part.cpu().clone() for part in batch)) for batch in loader)
    record = DamageRecord(split.folder, len(split), config.max_corrupt)
    tell_skipped("calibration", record, loader.skipped, tells=True)
    return Images(batches)
