"""A contact sheet of a packed split's images, and how many samples its classes have."""

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
    """How many samples and classes a split has, and the smallest, mean and largest number of samples in a class."""

    samples: int
    classes: int
    least: int
    mean: float
    most: int


def count(split: Split) -> Counts:
    """Count the samples of a split, in all and by class."""
    per_class = np.bincount(split.labels, minlength=split.num_classes)
    return Counts(len(split), split.num_classes, int(per_class.min()), float(per_class.mean()), int(per_class.max()))


def contact_sheet(split: Split, images: int = 60) -> np.ndarray:
    """A sheet with images of a split, chosen evenly from its classes, each with its class name: uint8 RGB [H, W, 3].

    The same images are chosen each time. Small ones are enlarged, without smoothing, to about 96 pixels.
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
    """Write a sheet, uint8 RGB [H, W, 3], as a PNG file.

    Raises:
        OSError: the file cannot be written.
    """
    whole, png = cv2.imencode(".png", sheet[:, :, ::-1])
    assert whole, "OpenCV writes PNG"
    path.write_bytes(png.tobytes())


def spread_over_classes(split: Split, images: int) -> np.ndarray:
    """Ids of samples, one of each class in turn until there are enough; in order of their labels: int64 [images]."""
    mixed = DataSetDraws(np.arange(len(split))).order(Purpose.SHEET_IMAGES)
    by_class = mixed[np.argsort(split.labels[mixed], kind="stable")]
    labels = split.labels[by_class]
    turn = np.arange(len(labels)) - np.searchsorted(labels, labels)  # number of samples of the class that come before
    # Where there are more classes than images, the classes are drawn too.
    class_turn = np.argsort(DataSetDraws(np.arange(split.num_classes)).order(Purpose.SHEET_CLASSES))
    chosen = by_class[np.lexsort((class_turn[labels], turn))][:images]
    return chosen[np.argsort(split.labels[chosen], kind="stable")]
