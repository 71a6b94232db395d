"""`digits`: scikit-learn's 1797 scanned digits of 8×8 pixels, with a fixed held-out test split."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np
import simplejpeg

from data_shards.randomness import DataSetDraws, Purpose
from data_shards.sources import Sample

SIDE = 32
QUALITY = 95  # with full colour resolution; a file has about 1 KB, mostly tables, so that a lower one saves nothing
_HELD_OUT = 0.2


@lru_cache(maxsize=1)
def scanned_digits() -> tuple[np.ndarray, np.ndarray]:
    """The digits as they were scanned: ink from 0 to 255, uint8 [1797, 8, 8]; and their labels, int64 [1797]."""
    from sklearn.datasets import load_digits  # slow to import, and needed for packing only

    images, labels = load_digits(return_X_y=True)
    ink = np.rint(np.asarray(images) * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    return ink, np.asarray(labels, np.int64)


@lru_cache(maxsize=1)
def split_digits() -> dict[str, np.ndarray]:
    """The positions in `scanned_digits` of each split, int64: a fifth of each class, always the same, is `test`."""
    _, labels = scanned_digits()
    lot = DataSetDraws(np.arange(len(labels))).bits(Purpose.DIGITS_HELD_OUT)
    test = np.concatenate(
        [members[np.argsort(lot[members])][: round(len(members) * _HELD_OUT)] for members in _by_class(labels)]
    )
    held_out = np.zeros(len(labels), bool)
    held_out[test] = True
    return {"train": np.flatnonzero(~held_out), "test": np.flatnonzero(held_out)}


class Digits:
    """The scanned digits as images: white on black, RGB, enlarged to 32×32 pixels by cubic interpolation."""

    name = "digits"
    folders = ()
    classes = tuple("0123456789")
    options: dict[str, int | str] = {}  # noqa: RUF012 (nothing about it can be chosen)

    @property
    def splits(self) -> dict[str, int]:
        return {split: len(positions) for split, positions in split_digits().items()}

    def samples(self, split: str, positions: np.ndarray) -> Iterator[Sample]:
        ink, labels = scanned_digits()
        for scan in split_digits()[split][positions]:
            enlarged = cv2.resize(ink[scan], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            image = np.repeat(enlarged[:, :, None], 3, axis=2)
            jpeg = simplejpeg.encode_jpeg(image, quality=QUALITY, colorsubsampling="444")
            yield Sample(jpeg, int(labels[scan]), SIDE, SIDE)

    def identity(self, split: str, positions: np.ndarray) -> bytes:
        return np.asarray(positions, "<i8").tobytes()


def _by_class(labels: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(labels == label) for label in range(10)]
