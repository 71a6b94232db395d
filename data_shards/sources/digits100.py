"""`digits100`: two scanned digits side by side on an image of 32×32 pixels: 100 classes, without a download.

Every image is a pure function of (seed, split, position): it does not depend on what else is drawn, or by whom. Only
integers, sums and products are used, and no functions of libm, so that rounding is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property, lru_cache

import cv2
import numpy as np
import simplejpeg

from data_shards.errors import ShardUsageError
from data_shards.randomness import DataSetDraws, Purpose
from data_shards.sources import Sample
from data_shards.sources.digits import QUALITY, scanned_digits, split_digits

SIDE = 32
_ENLARGED = 32  # side to which the 8×8 scans are smoothly enlarged before they are drawn at their size and slant
_CHUNK = 250  # images drawn at a time: their arrays fit the processor's cache

# What decides how hard it is; found by trying: with more background, small networks learnt nothing in four epochs.
_HEIGHT = (15.0, 20.0)  # of a digit, in pixels
_STRETCH = (0.85, 1.1)  # width over height, relative to the scan
_SLANT = (-0.35, 0.35)  # pixels sideways per pixel down
_CENTRE_X = ((8.0, 11.0), (20.0, 23.0))  # of the left and of the right digit
_CENTRE_Y = (12.5, 18.5)
_OPACITY = (0.8, 1.0)
_TEXTURE_CONTRAST = (0.0, 0.3)
_NOISE = 0.04  # standard deviation; white is 1
_DARK, _LIGHT = (0.05, 0.4), (0.6, 1.0)  # range of each colour channel of background and digits, before inverting

_SPLITS = ("train", "test")


class Digits100:
    """Images of two digits, labelled 10 · left + right. Each split uses the scans of the same split of `digits`.

    Args:
        train: number of training images; each class occurs equally often, give or take one.
        test: number of test images.
        seed: of all that is drawn.

    Raises:
        ShardUsageError: a split would be empty.
    """

    name = "digits100"
    folders = ()
    classes = tuple(f"{label:02d}" for label in range(100))

    def __init__(self, train: int = 20_000, test: int = 4_000, seed: int = 0):
        for option, value in (("train", train), ("test", test)):
            if value < 1:
                raise ShardUsageError(f"{option}: {value} is not a positive number of images")
        self.splits = {"train": train, "test": test}
        self.seed = seed

    @property
    def options(self) -> dict[str, int | str]:
        return {**self.splits, "seed": self.seed}

    def samples(self, split: str, positions: np.ndarray) -> Iterator[Sample]:
        for first in range(0, len(positions), _CHUNK):
            chunk = positions[first : first + _CHUNK]
            labels = self.labels[split][chunk]
            for image, label in zip(self.draw(split, chunk), labels.tolist(), strict=True):
                jpeg = simplejpeg.encode_jpeg(image, quality=QUALITY, colorsubsampling="444")
                yield Sample(jpeg, label, SIDE, SIDE)

    def identity(self, split: str, positions: np.ndarray) -> bytes:
        return f"{self.options} ".encode() + np.asarray(positions, "<i8").tobytes()

    @cached_property
    def labels(self) -> dict[str, np.ndarray]:
        """Labels by position, per split: int64 [samples]."""
        return {
            split: self._draws(split, np.arange(samples)).order(Purpose.DIGITS100_LABEL) % 100
            for split, samples in self.splits.items()
        }

    def scans(self, split: str, positions: np.ndarray) -> np.ndarray:
        """Which of the scanned digits images show, left and right: int64 [B, 2].

        Args:
            positions: int64 [B].
        """
        wanted = np.stack(np.divmod(self.labels[split][positions], 10), axis=1)  # [B, 2]
        lot = self._draws(split, positions).uniform(Purpose.DIGITS100_SCAN, 2)
        members = _scans_by_class(split)
        counts = np.array([len(scans) for scans in members])
        table = np.stack([np.resize(scans, counts.max()) for scans in members])
        return table[wanted, np.floor(lot * counts[wanted]).astype(np.int64)]

    def _draws(self, split: str, positions: np.ndarray) -> DataSetDraws:
        return DataSetDraws(positions, self.seed, _SPLITS.index(split))

    def draw(self, split: str, positions: np.ndarray) -> np.ndarray:
        """The images at some positions: uint8 RGB [B, 32, 32, 3].

        Args:
            positions: int64 [B].
        """
        B = len(positions)
        ink = self._ink(split, positions)  # [B, 2, 32, 32], 0 to 1
        draw = self._draws(split, positions).uniform(Purpose.DIGITS100_COLOUR, 12)
        background = _between(_DARK, draw[:, 0:3]).astype(np.float32)
        digits = _between(_LIGHT, draw[:, 3:9]).reshape(B, 2, 3).astype(np.float32)
        opacity = _between(_OPACITY, draw[:, 9]).astype(np.float32)
        contrast = _between(_TEXTURE_CONTRAST, draw[:, 10]).astype(np.float32)
        inverted = draw[:, 11] < 0.5

        texture = self._texture(split, positions) * contrast[:, None, None, None]
        image = background[:, None, None, :] + texture
        for digit in range(2):
            alpha = ink[:, digit, :, :, None] * opacity[:, None, None, None]
            image += alpha * (digits[:, digit, None, None, :] - image)
        image[inverted] = 1 - image[inverted]
        image += self._speckle(split, positions)
        return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8, order="C")

    def _ink(self, split: str, positions: np.ndarray) -> np.ndarray:
        """The ink of each of the two digits: float32 [B, 2, 32, 32], sampled bilinearly from the enlarged scans."""
        draw = self._draws(split, positions).uniform(Purpose.DIGITS100_GEOMETRY, 2, 5)
        height = _between(_HEIGHT, draw[..., 0])
        width = height * _between(_STRETCH, draw[..., 1])
        slant = _between(_SLANT, draw[..., 2])
        x_low, x_high = np.array(_CENTRE_X).T
        centre_x = x_low + draw[..., 3] * (x_high - x_low)
        centre_y = _between(_CENTRE_Y, draw[..., 4])

        pixel = np.arange(SIDE, dtype=np.float64)
        down = pixel[:, None] - centre_y[..., None, None]  # [B, 2, 32, 1]
        across = pixel - centre_x[..., None, None] + slant[..., None, None] * down  # [B, 2, 32, 32]
        # In pixels of the enlarged scan. It has a border of one empty pixel, to which all that is outside is moved.
        row = _onto_scan(down / height[..., None, None])
        column = _onto_scan(across / width[..., None, None])
        top, left = np.floor(row).astype(np.int32), np.floor(column).astype(np.int32)
        row_part, column_part = (row - top).astype(np.float32), (column - left).astype(np.float32)

        side = _ENLARGED + 2
        flat = _enlarged_scans().reshape(-1)
        corner = self.scans(split, positions)[..., None, None] * side**2 + top * side + left
        upper = flat[corner] * (1 - column_part) + flat[corner + 1] * column_part
        lower = flat[corner + side] * (1 - column_part) + flat[corner + side + 1] * column_part
        return upper * (1 - row_part) + lower * row_part

    def _texture(self, split: str, positions: np.ndarray) -> np.ndarray:
        """Smooth blotches between -0.5 and 0.5: float32 [B, 32, 32, 3], from a grid of 9×9 random colours."""
        cells = 8
        grid = self._draws(split, positions).uniform(Purpose.DIGITS100_TEXTURE, 3 * (cells + 1) ** 2)
        grid = grid.astype(np.float32).reshape(-1, cells + 1, cells + 1, 3) - 0.5
        cell, part = np.divmod(np.arange(SIDE), SIDE // cells)
        part = (part / (SIDE // cells)).astype(np.float32)[:, None]
        rows = grid[:, cell] * (1 - part[..., None]) + grid[:, cell + 1] * part[..., None]  # [B, 32, 9, 3]
        return rows[:, :, cell] * (1 - part) + rows[:, :, cell + 1] * part

    def _speckle(self, split: str, positions: np.ndarray) -> np.ndarray:
        """Noise of deviation `_NOISE`: float32 [B, 32, 32, 3]; nearly normal, as sums of four uniform numbers."""
        values = self._draws(split, positions).bits(Purpose.DIGITS100_SPECKLE, 3 * SIDE**2)
        quarters = values.view(np.uint16).reshape(len(positions), SIDE, SIDE, 3, 4)
        total = quarters.sum(axis=-1, dtype=np.int32) - 2 * 65535
        return total.astype(np.float32) * np.float32(_NOISE * 1.7320508 / 65536)


def _onto_scan(place: np.ndarray) -> np.ndarray:
    """A place in pixels of the enlarged scan with its border, from one in heights or widths of the digit, centre 0."""
    return np.clip((place + 0.5) * _ENLARGED + 0.5, 0, _ENLARGED + 0.999)


@lru_cache(maxsize=1)
def _enlarged_scans() -> np.ndarray:
    """The enlarged scans: float32 [1797, 34, 34] from 0 to 1; the outermost pixels are empty."""
    scans, _ = scanned_digits()
    enlarged = [cv2.resize(scan, (_ENLARGED, _ENLARGED), interpolation=cv2.INTER_CUBIC) for scan in scans]
    return np.pad(np.stack(enlarged), ((0, 0), (1, 1), (1, 1))).astype(np.float32) / np.float32(255)


@lru_cache(maxsize=2)
def _scans_by_class(split: str) -> list[np.ndarray]:
    positions = split_digits()[split]
    labels = scanned_digits()[1][positions]
    return [positions[labels == label] for label in range(10)]


def _between(limits: tuple[float, float], fraction: np.ndarray) -> np.ndarray:
    return limits[0] + fraction * (limits[1] - limits[0])
