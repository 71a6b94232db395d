"""Opens what a recipe's `data` names."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from data_shards.config import DataConfig
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.randomness import DataSetDraws, Purpose
from data_shards.store.index import Split, open_split
from data_shards.store.part import PartOfSplit
from data_shards.streaming.remote import open_remote


class Data(NamedTuple):
    """A data set as a run has it.

    Attributes:
        train: the training split, without the validation images.
        validation: the training images that are kept out of training; None where none are.
        test: from which results are reported.
    """

    train: Split
    validation: Split | None
    test: Split


def open_data(config: DataConfig) -> Data:
    """Open the training split, wherever it is, and the test split, which is always in the folder.

    Raises:
        ShardUsageError: as `open_split` does; also where training shards are elsewhere and the test split is damaged,
            or where validation images would leave none to train on.
        ShardDamage: as `open_split` does.
    """
    whole, test = _splits(config)
    wanted = config.validation_samples
    if not wanted:
        return Data(whole, None, test)
    if wanted >= len(whole):
        raise ShardUsageError(
            f"data.validation_samples: {wanted} of the {len(whole)} training samples would leave none to train on"
        )
    validation = validation_ids(len(whole), wanted)
    kept = np.setdiff1d(np.arange(len(whole)), validation, assume_unique=True)
    return Data(PartOfSplit(whole, kept), PartOfSplit(whole, validation), test)


def validation_ids(samples: int, wanted: int) -> np.ndarray:
    """The ids of `wanted` validation images out of `samples` training images, ascending: int64 [wanted].

    A random choice, and always the same: runs of other seeds and methods choose on the same images. Fewer of them are
    some of the more.
    """
    return np.sort(DataSetDraws(np.arange(samples)).order(Purpose.VALIDATION)[:wanted])


def _splits(config: DataConfig) -> tuple[Split, Split]:
    if config.stream_from is None:
        return open_split(config.shards, "train"), open_split(config.shards, "test")
    train = open_remote(config.shards, "train", config.stream_from)
    try:
        return train, open_split(config.shards, "test")
    except ShardDamage as damage:
        raise ShardUsageError(
            f"{damage}; with data.stream_from only training shards are elsewhere: the test split must be whole in "
            f"{config.shards}"
        ) from None
