"""The image operations of which AutoAugment's policies consist: uint8 RGB [H, W, 3] in and out, by OpenCV.

The paper defines them by PIL's ImageOps and ImageEnhance. Here they do the same in a fifth of the time: a function of a
channel's value is a table of 256 entries, and the rest is one pass of a filter or a warp. No operation changes its
argument or draws anything; the caller gives magnitude and sign.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from data_shards.augmentation.colour import LUMA, MEAN_COLOUR

_VALUES = np.arange(256)
_IDENTITY = np.eye(3)
# PIL's SMOOTH. Sharpening adds the difference between the image and what this filter makes of it.
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
_CENTRE = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 0]])
# Where a moved image leaves an area empty, it gets ImageNet's mean colour, which is nearly zero once normalised.
_FILL = tuple(round(channel) for channel in MEAN_COLOUR)


def invert(image: np.ndarray) -> np.ndarray:
    """The negative."""
    return cv2.bitwise_not(image)


def posterize(image: np.ndarray, bits: int) -> np.ndarray:
    """Keep the `bits` highest of each value's eight bits."""
    return _by_table(image, _VALUES & ~(0xFF >> bits))


def solarize(image: np.ndarray, threshold: int) -> np.ndarray:
    """Invert the values from `threshold` (0 … 256) on."""
    return _by_table(image, np.where(threshold > _VALUES, _VALUES, 255 - _VALUES))


def auto_contrast(image: np.ndarray) -> np.ndarray:
    """Stretch each channel to the whole of 0 … 255."""
    present = _histograms(image) > 0  # [3, 256]
    low, high = present.argmax(axis=1)[:, None], 255 - present[:, ::-1].argmax(axis=1)[:, None]
    scale = 255 / np.maximum(high - low, 1)
    stretched = np.floor(_VALUES * scale - low * scale)  # in PIL's order of operations, and cut off as in PIL
    return _by_table(image, np.where(high > low, stretched, _VALUES))


def equalize(image: np.ndarray) -> np.ndarray:
    """Map each channel so that its values become about equally frequent."""
    histograms = _histograms(image)  # [3, 256]
    highest = 255 - (histograms > 0)[:, ::-1].argmax(axis=1)
    # The pixels for each step of the result; those of the highest value need none.
    step = (histograms.sum(axis=1) - histograms[range(3), highest])[:, None] // 255
    below = histograms.cumsum(axis=1) - histograms
    spread = (below + step // 2) // np.maximum(step, 1)
    return _by_table(image, np.where(step > 0, spread, _VALUES))


def brightness(image: np.ndarray, factor: float) -> np.ndarray:
    """At `factor` 0 the result is black, at 1 it is the image."""
    return _by_table(image, _VALUES * factor)


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """At `factor` 0 the result is the image's mean grey all over, at 1 it is the image."""
    grey = round(float(np.dot(LUMA, cv2.mean(image)[:3])))
    return _by_table(image, grey + (_VALUES - grey) * factor)


def colour(image: np.ndarray, factor: float) -> np.ndarray:
    """At `factor` 0 the result is the image in grey, at 1 it is the image."""
    return cv2.transform(image, factor * _IDENTITY + (1 - factor) * np.tile(LUMA, (3, 1)))


def sharpness(image: np.ndarray, factor: float) -> np.ndarray:
    """At `factor` 0 the result is the image smoothed, at 1 it is the image; the outermost pixels never change."""
    result = cv2.filter2D(image, -1, factor * _CENTRE + (1 - factor) * _SMOOTH)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        result[edge] = image[edge]
    return result


def shear_x(image: np.ndarray, slope: float) -> np.ndarray:
    """Each pixel of row y shows what is `slope`·y pixels to its right."""
    return _affine(image, (1, slope, 0), (0, 1, 0))


def shear_y(image: np.ndarray, slope: float) -> np.ndarray:
    """Each pixel of column x shows what is `slope`·x pixels below it."""
    return _affine(image, (1, 0, 0), (slope, 1, 0))


def translate_x(image: np.ndarray, pixels: int) -> np.ndarray:
    """Each pixel shows what is `pixels` to its right."""
    return _affine(image, (1, 0, pixels), (0, 1, 0))


def translate_y(image: np.ndarray, pixels: int) -> np.ndarray:
    """Each pixel shows what is `pixels` below it."""
    return _affine(image, (1, 0, 0), (0, 1, pixels))


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turn the image counter-clockwise about its centre."""
    height, width = image.shape[:2]
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    across = cosine, -sine, x - cosine * x + sine * y
    down = sine, cosine, y - sine * x - cosine * y
    return _affine(image, across, down)


def _affine(image: np.ndarray, across: tuple[float, ...], down: tuple[float, ...]) -> np.ndarray:
    """The image whose point (x, y) shows the point (a·x + b·y + c, d·x + e·y + f) of `image`, interpolated bilinearly.

    Coordinates are those of PIL, where a pixel is a square and (0, 0) a corner of the image.

    Args:
        across, down: (a, b, c) and (d, e, f).
    """
    matrix = np.array([across, down], float)
    matrix[:, 2] += matrix[:, :2].sum(axis=1) / 2 - 0.5  # OpenCV's (0, 0) is the centre of the first pixel
    height, width = image.shape[:2]
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (width, height), flags=how, borderValue=_FILL)


def _by_table(image: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Each value replaced by its entry in `table`, [256] or one for each channel [3, 256]; rounded and clipped."""
    table = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table if table.ndim == 1 else np.ascontiguousarray(table.T)[None])


def _histograms(image: np.ndarray) -> np.ndarray:
    """How often each channel has each value: int64 [3, 256]."""
    # OpenCV 4 gives columns, OpenCV 5 vectors.
    channels = [cv2.calcHist([image], [channel], None, [256], [0, 256]).ravel() for channel in range(3)]
    return np.stack(channels).astype(np.int64)
