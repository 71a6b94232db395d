"""A sheet of training images as a recipe shows them: each sample as it is stored, then in some epochs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pydantic import ValidationError

from data_shards.augmentation.config import Augmentation
from data_shards.augmentation.crops import evaluation_crops
from data_shards.augmentation.draws import LABEL_SHARE
from data_shards.augmentation.on_device import augment_on_device
from data_shards.config import DataConfig
from data_shards.decoding.python import read_batch
from data_shards.errors import ShardUsageError
from data_shards.loading.batch_reader import training_batch
from data_shards.looking.sheet import comfortable_side, spread_over_classes
from data_shards.looking.tiles import draw_tiles
from data_shards.randomness import Draws
from data_shards.store.index import Split
from data_shards.strict_yaml import NotYaml, read_yaml

_EPOCHS = 7  # on a sheet, beside the stored image


class AugmentedLook(NamedTuple):
    """The part of a recipe that decides how images look: its augmentation and its seed."""

    augmentation: Augmentation
    seed: int


def read_look(recipe: Path) -> AugmentedLook:
    """Read `data` and `seed` of a recipe, and nothing else of it.

    Raises:
        ShardUsageError: the file is not a recipe, or something is wrong in its `data`.
    """
    try:
        content = read_yaml(recipe)
    except OSError as error:
        raise ShardUsageError(f"recipe {recipe}: {error.strerror}") from None
    except NotYaml as error:
        raise ShardUsageError(f"recipe {recipe}: {error}") from None
    if not isinstance(content, dict) or "data" not in content:
        raise ShardUsageError(f"recipe {recipe}: has no key 'data'")
    seed = content.get("seed", 0)
    if not isinstance(seed, int):
        raise ShardUsageError(f"recipe {recipe}: seed: {seed!r} is not a whole number")
    try:
        return AugmentedLook(DataConfig.model_validate(content["data"]).augmentation, seed)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in ("data", *first["loc"]))
        raise ShardUsageError(f"recipe {recipe}: {key}: {first['msg'].removeprefix('Value error, ')}") from None


def augmented_sheet(
    split: Split, look: AugmentedLook, epoch: int = 0, images: int = 64, resolution: int | None = None
) -> np.ndarray:
    """A sheet with a line for each of some samples: the sample as it is stored, then as it is shown in some epochs.

    Where images are mixed, the samples of lines 1 and 2, 3 and 4 … are partners, and captions tell the epoch and how
    much a picture's own label counts.

    Args:
        epoch: the first one to show.
        images: about how many pictures to show.
        resolution: side of a picture in pixels; by default that of the stored images, up to 160.

    Returns:
        uint8 RGB [H, W, 3].

    Raises:
        ShardUsageError: images are mixed, and the split has only one.
    """
    lines = min(math.ceil(images / (1 + _EPOCHS)), len(split))
    if look.augmentation.mixes:
        if len(split) < 2:
            raise ShardUsageError(f"{split.folder}: mixup and cutmix need two samples to show, it has one")
        lines = max(lines // 2 * 2, 2)
    ids = spread_over_classes(split, lines)
    side = resolution or comfortable_side(split, ids)
    rows = split.index[ids]
    stored = read_batch(split, ids, evaluation_crops(rows["height"], rows["width"], side))
    columns = [(stored, [split.classes[label] for label in rows["label"]])]
    for each in range(epoch, epoch + _EPOCHS):
        columns.append(_as_trained(split, look, each, ids, side))
    pictures = np.stack([pictures for pictures, _ in columns], axis=1)  # [lines, columns, side, side, 3]
    captions = [caption for line in zip(*(captions for _, captions in columns), strict=True) for caption in line]
    return draw_tiles(pictures.reshape(-1, side, side, 3), captions, len(columns))


def _as_trained(
    split: Split, look: AugmentedLook, epoch: int, ids: np.ndarray, side: int
) -> tuple[np.ndarray, list[str]]:
    """The pictures of an epoch, uint8 RGB [B, side, side, 3], and their captions."""
    augmentation = look.augmentation
    batch = training_batch(split, augmentation, Draws(look.seed, epoch, ids), side)
    images, _ = augment_on_device(batch.images, batch.labels, batch.draws, augmentation, split.num_classes)
    captions = [f"epoch {epoch}"] * len(ids)
    if augmentation.mixes:
        captions = [f"{epoch}: {share:.0%}" for share in batch.draws[:, LABEL_SHARE].flatten().tolist()]
    return images.round().to(torch.uint8).numpy(), captions
