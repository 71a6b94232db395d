"""The image operations that AutoAugment's policies are made of, on uint8 RGB [H, W, 3], by OpenCV.

What they do is what PIL's ImageOps and ImageEnhance do, in which the paper defines them, at a fifth of PIL's time: a
function of a channel's value is a table of 256 entries, the rest is one pass of a filter or a warp. None changes its
argument, and none draws anything: magnitude and sign are the caller's.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from data_shards.augmentation.colour import LUMA, MEAN_COLOUR

_VALUES = np.arange(256)
_IDENTITY = np.eye(3)
# PIL's SMOOTH: what an image is sharpened away from.
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
_CENTRE = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
# What geometry uncovers gets ImageNet's mean colour: nearly zero once normalised.
_FILL = tuple(round(channel) for channel in MEAN_COLOUR)


def invert(image: np.ndarray) -> np.ndarray:
    """The negative."""
    return cv2.bitwise_not(image)


def posterize(image: np.ndarray, bits: int) -> np.ndarray:
    """Keeps the `bits` highest of each value's eight bits."""
    return _by_table(image, _VALUES & ~(0xFF >> bits))


def solarize(image: np.ndarray, threshold: int) -> np.ndarray:
    """Inverts the values from `threshold` (0 … 256) on."""
    return _by_table(image, np.where(threshold > _VALUES, _VALUES, 255 - _VALUES))


def auto_contrast(image: np.ndarray) -> np.ndarray:
    """Stretches each channel to the whole of 0 … 255."""
    present = _histograms(image) > 0  # [3, 256]
    low, high = present.argmax(axis=1)[:, None], 255 - present[:, ::-1].argmax(axis=1)[:, None]
    scale = 255 / np.maximum(high - low, 1)
    stretched = np.floor(_VALUES * scale - low * scale)  # in this order, as PIL, whose decimals are cut off likewise
    return _by_table(image, np.where(high > low, stretched, _VALUES))


def equalize(image: np.ndarray) -> np.ndarray:
    """Maps each channel so that its values become about equally frequent."""
    histograms = _histograms(image)  # [3, 256]
    highest = 255 - (histograms > 0)[:, ::-1].argmax(axis=1)
    # The pixels for each step of the result; those of the highest value need none.
    step = (histograms.sum(axis=1) - histograms[range(3), highest])[:, None] // 255
    below = histograms.cumsum(axis=1) - histograms
    spread = (below + step // 2) // np.maximum(step, 1)
    return _by_table(image, np.where(step > 0, spread, _VALUES))


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """0 is black, 1 the image."""
    return _by_table(image, _VALUES * factor)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """0 is the image's mean grey all over, 1 the image."""
    grey = round(float(np.dot(LUMA, cv2.mean(image)[:3])))
    return _by_table(image, grey + (_VALUES - grey) * factor)


def colour(image: np.ndarray, factor: float) -> np.ndarray:
    """0 is the image in grey, 1 the image."""
    return cv2.transform(image, factor * _IDENTITY + (1 - factor) * np.tile(LUMA, (3, 1)))


def sharpness(image: np.ndarray, factor: float) -> np.ndarray:
    """0 is the image smoothed, 1 the image; the outermost pixels stay as they are."""
    result = cv2.filter2D(image, -1, factor * _CENTRE + (1 - factor) * _SMOOTH)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        result[edge] = image[edge]
    return result


def shear_x(image: np.ndarray, slope: float) -> np.ndarray:
    """Row y shows what is `slope`·y to the right of it."""
    return _affine(image, (1, slope, 0), (0, 1, 0))


def shear_y(image: np.ndarray, slope: float) -> np.ndarray:
    """Column x shows what is `slope`·x below it."""
    return _affine(image, (1, 0, 0), (slope, 1, 0))


def translate_x(image: np.ndarray, pixels: int) -> np.ndarray:
    """Shows what is `pixels` to the right."""
    return _affine(image, (1, 0, pixels), (0, 1, 0))


def translate_y(image: np.ndarray, pixels: int) -> np.ndarray:
    """Shows what is `pixels` below."""
    return _affine(image, (1, 0, 0), (0, 1, pixels))


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turns the image counter-clockwise about its centre."""
    height, width = image.shape[:2]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    across = cosine, -sine, x - cosine * x + sine * y
    down = sine, cosine, y - sine * x - cosine * y
    return _affine(image, across, down)


def _affine(image: np.ndarray, across: tuple[float, ...], down: tuple[float, ...]) -> np.ndarray:
    """The image whose point (x, y) shows the image's point (a·x + b·y + c, d·x + e·y + f), bilinear.

    Coordinates are those of PIL, where a pixel is a square and (0, 0) a corner of the image.
    """
    matrix = np.array([across, down], float)
    matrix[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5  # OpenCV's (0, 0) is the centre of the first pixel
    height, width = image.shape[:2]
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (width, height), flags=how, borderValue=_FILL)


def _by_table(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Each value replaced by `table` [256], or by that of its channel, [3, 256]; rounded and clipped."""
    table = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table if table.ndim == 1 else np.ascontiguousarray(table.T)[None])


def _histograms(image: np.ndarray) -> np.ndarray:
    """How often each channel has each value: int64 [3, 256]."""
    # OpenCV 4 gives columns, OpenCV 5 vectors.
    channels = [cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel() for channel in range(3)]
    return np.stack(channels).astype(np.int64)
