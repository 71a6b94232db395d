"""A look at a packed split: a contact sheet of its images, and how many samples each class has."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data_shards.augmentation.crops import evaluation_crops
from data_shards.decoding.python import read_batch
from data_shards.looking.tiles import draw_tiles
from data_shards.randomness import DataSetDraws, Purpose
from data_shards.store.index import Split


class Counts(NamedTuple):
    """Samples of a split, and the smallest, mean and largest number per class."""

    samples: int
    classes: int
    least: int
    mean: float
    most: int


def count(split: Split) -> Counts:
    """How many samples a split has, in all and per class."""
    per_class = np.bincount(split.labels, minlength=split.num_classes)
    return Counts(len(split), split.num_classes, int(per_class.min()), float(per_class.mean()), int(per_class.max()))


def contact_sheet(split: Split, images: int = 60) -> np.ndarray:
    """Images of a split, drawn evenly over its classes, each with its class name: uint8 RGB [H, W, 3].

    The choice is always the same. Small images are enlarged, without smoothing, to about 96 pixels.
    """
    ids = spread_over_classes(split, min(images, len(split)))
    rows = split.index[ids]
    pictures = read_batch(split, ids, evaluation_crops(rows["height"], rows["width"], comfortable_side(split, ids)))
    columns = math.ceil(math.sqrt(len(ids) * 1.5))
    return draw_tiles(pictures, [split.classes[label] for label in split.labels[ids]], columns)


def comfortable_side(split: Split, ids: np.ndarray) -> int:
    """The side in pixels at which to show samples: that of the largest, up to 160."""
    rows = split.index[ids]
    return min(int(np.minimum(rows["height"], rows["width"]).max()), 160)


def write_sheet(sheet: np.ndarray, path: Path) -> None:
    """Writes a sheet, uint8 RGB [H, W, 3], as a PNG file. Raises OSError where that is not possible."""
    whole, png = cv2.imencode(".png", sheet[:, :, ::-1])
    assert whole, "OpenCV writes PNG"
    path.write_bytes(png.tobytes())


def spread_over_classes(split: Split, images: int) -> np.ndarray:
    """Ids in order of their labels: one of each class in turn, until there are enough."""
    mixed = DataSetDraws(np.arange(len(split))).order(Purpose.SHEET_IMAGES)
    by_class = mixed[np.argsort(split.labels[mixed], kind="stable")]
    labels = split.labels[by_class]
    turn = np.arange(len(labels)) - np.searchsorted(labels, labels)  # how many of its class come before
    # With more classes than images, the classes themselves are drawn by lot.
    class_turn = np.argsort(DataSetDraws(np.arange(split.num_classes)).order(Purpose.SHEET_CLASSES))
    chosen = by_class[np.lexsort((class_turn[labels], turn))][:images]
    return chosen[np.argsort(split.labels[chosen], kind="stable")]
