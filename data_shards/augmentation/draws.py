"""The random numbers for what the device does to images: a row of them for each image of a batch.

A row follows from (seed, epoch, sample id); its columns for mixing follow from (seed, epoch, ids of both images that
are mixed). Rows are drawn in the reader's process and travel with the batch, so that the device draws nothing and waits
for nothing.

Images are mixed in pairs of neighbours: positions 2k and 2k + 1 of the global batch, which is in random order.
Processes get equal, contiguous slices of the batch; as these are even, each pair is in one of them. So the pairs do not
depend on the number of processes.
"""

from __future__ import annotations

import math

import numpy as np

from data_shards.augmentation.colour import LUMA, MEAN_COLOUR
from data_shards.augmentation.config import Augmentation, RandomErasing
from data_shards.randomness import Draws, Purpose

# Columns of a row. For jitter: the new colour is MATRIX @ colour + GREY · the image's mean colour.
MATRIX, GREY = slice(0, 9), slice(9, 12)
# For erasing: a box in pixels (x, y, width, height; empty where nothing is erased) and its new colour, 0 … 255.
ERASED, FILL = slice(12, 16), slice(16, 19)
# For mixing: the image's own part in each pixel, the box in which its partner is shown instead, its part in the label.
BLEND, PASTED, LABEL_SHARE = slice(19, 20), slice(20, 24), slice(24, 25)
COLUMNS = 25

# Attempts at a rectangle that fits; an image for which none does stays as it is.
_ATTEMPTS = 10

# From RGB to NTSC's luma and two axes of colour. Turning these axes changes the hue, stretching them the saturation.
_YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_FROM_YIQ = np.linalg.inv(_YIQ)


def draw_for_device(augmentation: Augmentation, draws: Draws, resolution: int) -> np.ndarray:
    """The rows for a batch. What an augmentation leaves off has columns that change nothing.

    Args:
        draws: for the B samples of the batch, in its order.
        resolution: side of the images in pixels.

    Returns:
        float32 [B, COLUMNS]; [B, 0] where the device has nothing to do.
    """
    B = len(draws.ids)
    if not augmentation.on_device:
        return np.empty((B, 0), np.float32)
    rows = np.zeros((B, COLUMNS), np.float32)
    rows[:, MATRIX] = np.eye(3).ravel()
    rows[:, BLEND] = rows[:, LABEL_SHARE] = 1
    if augmentation.jitters:
        rows[:, MATRIX], rows[:, GREY] = _jitter(augmentation.colour_jitter, draws)
    if augmentation.erases:
        rows[:, ERASED], rows[:, FILL] = _erasing(augmentation.random_erasing, draws, resolution)
    if augmentation.mixes:
        rows[:, BLEND], rows[:, PASTED], rows[:, LABEL_SHARE] = _mixing(augmentation, draws, resolution)
    return rows


def _jitter(strays: tuple[float, ...], draws: Draws) -> tuple[np.ndarray, np.ndarray]:
    """Brightness, contrast, saturation and hue as one linear change of colour: MATRIX [B, 9] and GREY [B, 3].

    A change of hue turns the colour about the axis of greys and keeps its luma, as DALI's does (PIL's turns it in HSV).
    All four then commute: there is no order to be drawn, and values are clipped once, at the end.
    """
    drawn = 2 * draws.uniform(Purpose.JITTER, 4) - 1  # [B, 4]
    brightness, contrast, saturation = (1 + drawn[:, :3] * strays[:3]).T
    turn = 2 * math.pi * strays[3] * drawn[:, 3]
    in_yiq = np.zeros((len(drawn), 3, 3))
    in_yiq[:, 0, 0] = 1
    in_yiq[:, 1, 1] = in_yiq[:, 2, 2] = saturation * np.cos(turn)
    in_yiq[:, 2, 1] = saturation * np.sin(turn)
    in_yiq[:, 1, 2] = -in_yiq[:, 2, 1]
    matrix = (contrast * brightness)[:, None, None] * (_FROM_YIQ @ in_yiq @ _YIQ)
    grey = (1 - contrast) * brightness  # contrast is the distance from the mean luma
    return matrix.reshape(-1, 9), grey[:, None] * LUMA


def _erasing(erasing: RandomErasing, draws: Draws, resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [B, 4] and fill colours [B, 3]. Each image gets the first of its attempts that fits into it."""
    low, high = erasing.area
    area = low + (high - low) * draws.uniform(Purpose.ERASE_AREA, _ATTEMPTS)  # [B, attempts]
    low, high = np.log(erasing.aspect)
    aspect = np.exp(low + (high - low) * draws.uniform(Purpose.ERASE_ASPECT, _ATTEMPTS))
    w, h = np.rint(resolution * np.sqrt(area * aspect)), np.rint(resolution * np.sqrt(area / aspect))
    fits = (np.minimum(w, h) >= 1) & (np.maximum(w, h) <= resolution)
    first = fits.argmax(axis=1)
    images = np.arange(len(first))
    w, h = w[images, first], h[images, first]
    x = np.floor(draws.uniform(Purpose.ERASE_X) * (resolution - w + 1))
    y = np.floor(draws.uniform(Purpose.ERASE_Y) * (resolution - h + 1))
    chosen = (draws.uniform(Purpose.ERASE) < erasing.probability) & fits.any(axis=1)
    fill = np.broadcast_to(MEAN_COLOUR, (len(images), 3))
    if erasing.fill == "colour":
        fill = 255 * draws.uniform(Purpose.ERASE_COLOUR, 3)
    return np.stack([x, y, w, h], axis=1) * chosen[:, None], fill


def _mixing(augmentation: Augmentation, draws: Draws, resolution: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mixup (Zhang et al., ICLR 2018) and cutmix (Yun et al., ICCV 2019): BLEND, PASTED and LABEL_SHARE, [B, …].

    Each pair has a ratio of its own, so that a batch sees B / 2 of them instead of one. Both partners get the same
    ratio and the same box: what one image loses of itself is shown by the other, and no sample is lost to an epoch.
    """
    pairs = draws.pairs()
    mixed = pairs.uniform(Purpose.MIX) < augmentation.mix_probability
    cut_odds = 1.0 if not augmentation.mixup else 0.5 if augmentation.cutmix else 0.0
    cut = mixed & (pairs.uniform(Purpose.CUT) < cut_odds)
    quantile = pairs.uniform(Purpose.MIX_RATIO)
    blend = np.where(mixed & ~cut, _beta(augmentation.mixup, quantile), 1.0)
    # A box as large as the partner's part of the area, around any point; what falls outside the image is not pasted.
    half = resolution * np.sqrt(1 - _beta(augmentation.cutmix, quantile)) / 2
    edges = []
    for purpose in (Purpose.CUT_X, Purpose.CUT_Y):
        centre = resolution * pairs.uniform(purpose)
        edges.append(np.clip(np.rint([centre - half, centre + half]), 0, resolution))
    (left, right), (top, bottom) = edges
    box = np.stack([left, top, right - left, bottom - top], axis=1) * cut[:, None]
    label_share = blend * (1 - box[:, 2] * box[:, 3] / resolution**2)
    return np.repeat(blend[:, None], 2, axis=0), np.repeat(box, 2, axis=0), np.repeat(label_share[:, None], 2, axis=0)


def _beta(alpha: float, fraction: np.ndarray) -> np.ndarray:
    """The quantiles `fraction` of Beta(α, α); 1 throughout for α = 0."""
    if not alpha:
        return np.ones_like(fraction)
    from scipy.special import betaincinv  # slow to import, and for mixing only

    return betaincinv(alpha, alpha, fraction)
