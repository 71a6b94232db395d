"""A look at a packed split: a contact sheet of its images, and how many samples each class has."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from data_shards.augment import evaluation_plan
from data_shards.index import Split
from data_shards.python_reader import read_batch
from data_shards.randomness import random_bits

_GAP, _LINE = 10, 22  # pixels between images, and for the class name below each
_PAPER, _INK = (250, 250, 250), (60, 60, 60)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45


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
    ids = _spread_over_classes(split, min(images, len(split)))
    rows = split.index[ids]
    side = min(int(np.minimum(rows["height"], rows["width"]).max()), 160)
    enlarge = max(1, round(96 / side))
    pictures = read_batch(split, ids, evaluation_plan(rows["height"], rows["width"], side))
    pictures = pictures.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    side *= enlarge

    columns = math.ceil(math.sqrt(len(ids) * 1.5))
    step_x, step_y = side + _GAP, side + _GAP + _LINE
    lines = math.ceil(len(ids) / columns)
    sheet = np.full((lines * step_y + _GAP, columns * step_x + _GAP, 3), _PAPER, np.uint8)
    for position, (picture, label) in enumerate(zip(pictures, split.labels[ids], strict=True)):
        y, x = _GAP + position // columns * step_y, _GAP + position % columns * step_x
        sheet[y : y + side, x : x + side] = picture
        name = _fitted(split.classes[label], side)
        (width, _), _ = cv2.getTextSize(name, _FONT, _FONT_SCALE, 1)
        at = (x + (side - width) // 2, y + side + 15)
        cv2.putText(sheet, name, at, _FONT, _FONT_SCALE, _INK, 1, cv2.LINE_AA)
    return sheet


def write_contact_sheet(split: Split, path: Path, images: int = 60) -> None:
    """Writes `contact_sheet` as a PNG file. Raises OSError where that is not possible."""
    whole, png = cv2.imencode(".png", contact_sheet(split, images)[:, :, ::-1])
    assert whole, "OpenCV writes PNG"
    path.write_bytes(png.tobytes())


def _spread_over_classes(split: Split, images: int) -> np.ndarray:
    """Ids in order of their labels: one of each class in turn, until there are enough."""
    lot = np.argsort(random_bits(0, np.arange(len(split))), kind="stable")
    by_class = lot[np.argsort(split.labels[lot], kind="stable")]
    labels = split.labels[by_class]
    turn = np.arange(len(labels)) - np.searchsorted(labels, labels)  # how many of its class come before
    # With more classes than images, the classes themselves are drawn by lot.
    class_lot = np.argsort(np.argsort(random_bits(1, np.arange(split.num_classes))))
    chosen = by_class[np.lexsort((class_lot[labels], turn))][:images]
    return chosen[np.argsort(split.labels[chosen], kind="stable")]


def _fitted(name: str, width: int) -> str:
    """The name as ASCII, which OpenCV can draw, cut to fit."""
    name = name.encode("ascii", "replace").decode()
    while len(name) > 1 and cv2.getTextSize(name, _FONT, _FONT_SCALE, 1)[0][0] > width:
        name = name.rstrip(".")[:-1] + "."
    return name
