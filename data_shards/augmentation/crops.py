"""Crop windows and flips, for a whole batch at once: as training draws them, and as evaluation has them."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from data_shards.augmentation.config import Augmentation
from data_shards.randomness import Draws, Purpose

# Attempts at a random resized crop before it falls back to the centre: the convention since Inception.
_ATTEMPTS = 10

# PIL's filters, which widen with the factor of shrinking: what others call antialiased.
Interpolation: TypeAlias = Literal["bilinear", "bicubic"]


class WholeResize(NamedTuple):
    """How each of B images is resized as a whole.

    Attributes:
        sizes: int64 [B, 2], height and width in pixels it then has.
    """

    sizes: np.ndarray
    interpolation: Interpolation


class Crops(NamedTuple):
    """What to show of each of B images.

    Attributes:
        windows: int32 [B, 4], each x, y, width, height, in pixels of the stored image. A window may reach beyond the
            image, which then continues by reflection.
        flips: bool [B], whether to mirror left and right.
        resolution: side in pixels to which each window is resized.
        first: where given, the whole image is resized first; windows are then `resolution` square and lie in it, and
            nothing is mirrored.
    """

    windows: np.ndarray
    flips: np.ndarray
    resolution: int
    first: WholeResize | None = None


def training_crops(
    augmentation: Augmentation, draws: Draws, heights: np.ndarray, widths: np.ndarray, resolution: int
) -> Crops:
    """What training shows of B samples.

    Args:
        draws: for the samples.
        heights, widths: of the stored images, in pixels: int [B].
        resolution: side of the result in pixels.
    """
    heights, widths = np.asarray(heights, np.int64), np.asarray(widths, np.int64)
    if augmentation.crop == "random_resized":
        windows = _random_resized(augmentation, draws, heights, widths)
    else:
        windows = _centre_squares(heights, widths, 1.0)
    if augmentation.crop == "padded":
        choices = 2 * augmentation.padding + 1
        for column, purpose in ((0, Purpose.SHIFT_X), (1, Purpose.SHIFT_Y)):
            shift = np.floor(draws.uniform(purpose) * choices).astype(np.int32)
            windows[:, column] += shift - augmentation.padding
    flips = draws.uniform(Purpose.FLIP) < 0.5 if augmentation.flip else np.zeros(len(windows), bool)
    return Crops(windows, flips, resolution)


def evaluation_crops(
    heights: np.ndarray,
    widths: np.ndarray,
    resolution: int,
    crop: float = 1.0,
    interpolation: Literal["fast"] | Interpolation = "fast",
) -> Crops:
    """What evaluation shows: a centre square.

    This is resizing the short side to `resolution / crop` and cutting `resolution` from the centre: in one go if
    `interpolation` is `fast`, else in two, with the rounding of torchvision's Resize (the short side rounded up, the
    long one down) and CenterCrop (halves to even). Images that are `resolution` pixels square pass unchanged at `crop`
    1.

    Args:
        heights, widths: of the stored images, in pixels: int [B].
        resolution: side of the result in pixels.
        crop: side of the square, as a share of the image's short side.
    """
    heights, widths = np.asarray(heights, np.int64), np.asarray(widths, np.int64)
    flips = np.zeros(len(heights), bool)
    if interpolation == "fast":
        return Crops(_centre_squares(heights, widths, crop), flips, resolution)
    stored = np.stack([heights, widths], axis=1)  # [B, 2]
    side = math.ceil(resolution / crop)
    sizes = (side * stored / stored.min(axis=1, keepdims=True)).astype(np.int64)
    top, left = np.rint((sizes - resolution) / 2).T
    square = np.full_like(heights, resolution)
    return Crops(_windows(left, top, square, square), flips, resolution, WholeResize(sizes, interpolation))


def _centre_squares(heights: np.ndarray, widths: np.ndarray, crop: float) -> np.ndarray:
    side = np.maximum(np.rint(np.minimum(heights, widths) * crop), 1).astype(np.int64)
    return _windows((widths - side) // 2, (heights - side) // 2, side, side)


def _random_resized(augmentation: Augmentation, draws: Draws, heights: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Windows of random area and aspect: int32 [B, 4]. For each image the first of its attempts that fits into it."""
    area_share = _between(augmentation.scale, draws.uniform(Purpose.CROP_AREA, _ATTEMPTS))  # [B, attempts]
    log_ratio = _between(tuple(np.log(augmentation.ratio)), draws.uniform(Purpose.CROP_RATIO, _ATTEMPTS))
    area = area_share * (heights * widths)[:, None]
    w = np.rint(np.sqrt(area * np.exp(log_ratio))).astype(np.int64)
    h = np.rint(np.sqrt(area * np.exp(-log_ratio))).astype(np.int64)
    fits = (w >= 1) & (h >= 1) & (w <= widths[:, None]) & (h <= heights[:, None])
    first = fits.argmax(axis=1)
    images = np.arange(len(first))
    w, h = w[images, first], h[images, first]
    x = np.floor(draws.uniform(Purpose.SHIFT_X) * (widths - w + 1)).astype(np.int64)
    y = np.floor(draws.uniform(Purpose.SHIFT_Y) * (heights - h + 1)).astype(np.int64)
    # An image may be so elongated that nothing fits: it shows the largest centre window of a permitted aspect.
    aspect = np.clip(widths / heights, *augmentation.ratio)
    centre_w = np.minimum(widths, np.maximum(np.rint(heights * aspect), 1)).astype(np.int64)
    centre_h = np.minimum(heights, np.maximum(np.rint(widths / aspect), 1)).astype(np.int64)
    centre = _windows((widths - centre_w) // 2, (heights - centre_h) // 2, centre_w, centre_h)
    some_fit = np.any(fits, axis=1, keepdims=True)  # [B, 1]
    return np.where(some_fit, _windows(x, y, w, h), centre)


def _between(limits: tuple[float, ...], fraction: np.ndarray) -> np.ndarray:
    return limits[0] + fraction * (limits[1] - limits[0])


def _windows(x: np.ndarray, y: np.ndarray, w: np.ndarray, h: np.ndarray) -> np.ndarray:
    return np.stack([x, y, w, h], axis=1).astype(np.int32)
