"""Which part of each image a batch shows: crop windows and flips, drawn for the whole batch at once.

A draw depends on (seed, epoch, sample id) alone, so that neither the order in the batch, nor the worker, nor a resume
can change it. The windows are in pixels of the stored image; a reader cuts them out and resizes them.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_shards.randomness import uniform

# Purposes, which keep draws with the same (seed, epoch, id) apart.
_FLIP, _SHIFT_X, _SHIFT_Y, _AREA, _RATIO = range(10, 15)

# Trials for a random resized crop before it falls back to the centre: the convention since Inception.
_ATTEMPTS = 10


class Augmentation(BaseModel):
    """How training images are varied.

    `crop`: `none` shows the centre square; `padded` moves it by up to `padding` pixels, reflecting what lies beyond
    the border; `random_resized` shows a window of random area (`scale`, as a share of the image) and aspect (`ratio`,
    width over height). `flip` mirrors every other image.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: Literal["none", "padded", "random_resized"] = "none"
    padding: int = Field(default=4, ge=0)
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False

    @model_validator(mode="after")
    def _ranges(self) -> Augmentation:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale: {list(self.scale)} is not a range within (0, 1]")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio: {list(self.ratio)} is not a range of positive numbers")
        return self


class Plan(NamedTuple):
    """What to show of each of B images.

    `windows`: int32 [B, 4], each x, y, width, height; may reach beyond the image, which then continues by reflection.
    `flips`: bool [B]. `resolution`: side of the result in pixels.
    """

    windows: np.ndarray
    flips: np.ndarray
    resolution: int


def plan(
    augmentation: Augmentation,
    seed: int,
    epoch: int,
    ids: np.ndarray,
    heights: np.ndarray,
    widths: np.ndarray,
    resolution: int,
) -> Plan:
    """The training plan for samples `ids` (int [B]) of the given stored sizes (int [B], pixels)."""
    heights, widths = np.asarray(heights, np.int64), np.asarray(widths, np.int64)
    if augmentation.crop == "random_resized":
        windows = _random_resized(augmentation, seed, epoch, ids, heights, widths)
    else:
        windows = _centre_squares(heights, widths, 1.0)
    if augmentation.crop == "padded":
        choices = 2 * augmentation.padding + 1
        for column, purpose in ((0, _SHIFT_X), (1, _SHIFT_Y)):
            shift = np.floor(uniform(seed, purpose, epoch, ids) * choices).astype(np.int32)
            windows[:, column] += shift - augmentation.padding
    flips = uniform(seed, _FLIP, epoch, ids) < 0.5 if augmentation.flip else np.zeros(len(ids), bool)
    return Plan(windows, flips, resolution)


def evaluation_plan(heights: np.ndarray, widths: np.ndarray, resolution: int, crop: float = 1.0) -> Plan:
    """The plan for evaluation: a centre square whose side is `crop` of the short side.

    This is resizing the short side to `resolution / crop` and cutting `resolution` from the centre, in one go. Images
    that are `resolution` pixels square pass unchanged at `crop` 1.
    """
    windows = _centre_squares(np.asarray(heights, np.int64), np.asarray(widths, np.int64), crop)
    return Plan(windows, np.zeros(len(windows), bool), resolution)


def _centre_squares(heights: np.ndarray, widths: np.ndarray, crop: float) -> np.ndarray:
    side = np.maximum(np.rint(np.minimum(heights, widths) * crop), 1).astype(np.int64)
    return _windows((widths - side) // 2, (heights - side) // 2, side, side)


def _random_resized(
    augmentation: Augmentation, seed: int, epoch: int, ids: np.ndarray, heights: np.ndarray, widths: np.ndarray
) -> np.ndarray:
    B, attempts = len(ids), np.arange(_ATTEMPTS)
    column = np.asarray(ids)[:, None]
    area_share = _between(augmentation.scale, uniform(seed, _AREA, epoch, column, attempts))  # [B, attempts]
    log_ratio = _between(tuple(np.log(augmentation.ratio)), uniform(seed, _RATIO, epoch, column, attempts))
    area = area_share * (heights * widths)[:, None]
    w = np.rint(np.sqrt(area * np.exp(log_ratio))).astype(np.int64)
    h = np.rint(np.sqrt(area * np.exp(-log_ratio))).astype(np.int64)
    fits = (w >= 1) & (h >= 1) & (w <= widths[:, None]) & (h <= heights[:, None])
    first = fits.argmax(axis=1)
    w, h = w[np.arange(B), first], h[np.arange(B), first]
    x = np.floor(uniform(seed, _SHIFT_X, epoch, ids) * (widths - w + 1)).astype(np.int64)
    y = np.floor(uniform(seed, _SHIFT_Y, epoch, ids) * (heights - h + 1)).astype(np.int64)
    # An image so elongated that nothing fitted: the largest centre window of a permitted aspect.
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
