"""How training images are varied, and the first part of it: crop windows and flips, drawn for a whole batch at once.

The order is the usual one: crop and flip (here; done by the reader), AutoAugment (`auto_augment`, in the reader's
process), then on the device, once per batch, colour jitter, random erasing, mixup and cutmix (drawn by `draws`, done by
`on_device`). Normalising stands between jitter and erasing elsewhere; as it changes each value by itself and in
proportion, it may as well come last.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_shards.augmentation.auto_augment import AutoAugmentPolicy
from data_shards.randomness import Purpose, uniform

# Trials for a random resized crop before it falls back to the centre: the convention since Inception.
_ATTEMPTS = 10


def _require_shares(key: str, limits: tuple[float, float]) -> None:
    if not 0 < limits[0] <= limits[1] <= 1:
        raise ValueError(f"{key}: {list(limits)} is not a range within (0, 1]")


def _require_ratios(key: str, limits: tuple[float, float]) -> None:
    if not 0 < limits[0] <= limits[1] < math.inf:
        raise ValueError(f"{key}: {list(limits)} is not a range of positive numbers")


class RandomErasing(BaseModel):
    """Painting over a rectangle (Zhong et al., AAAI 2020), with `probability`.

    `area`: as a share of the image; `aspect`: width over height; `fill`: `mean` is ImageNet's mean colour, which is
    zero once normalised, `colour` one drawn for each image.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    probability: float = Field(default=0.0, ge=0, le=1)
    area: tuple[float, float] = (0.02, 1 / 3)
    aspect: tuple[float, float] = (0.3, 1 / 0.3)
    fill: Literal["mean", "colour"] = "mean"

    @model_validator(mode="after")
    def _ranges(self) -> RandomErasing:
        _require_shares("area", self.area)
        _require_ratios("aspect", self.aspect)
        return self


class Augmentation(BaseModel):
    """How training images are varied.

    `crop`: `none` shows the centre square; `padded` moves it by up to `padding` pixels, reflecting what lies beyond
    the border; `random_resized` shows a window of random area (`scale`, as a share of the image) and aspect (`ratio`,
    width over height). `flip` mirrors every other image. `auto_augment`: a policy of `auto_augment`.
    `colour_jitter`: how far brightness, contrast and saturation stray from 1, and hue from 0 (in turns of the colour
    circle). `mixup` and `cutmix`: the α of Beta(α, α), from which an image's own share is drawn; 0 is off, and with
    both on, each image gets one of them, with equal odds. `mix_probability`: of an image to be mixed at all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    crop: Literal["none", "padded", "random_resized"] = "none"
    padding: int = Field(default=4, ge=0)
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: bool = False
    auto_augment: AutoAugmentPolicy = "none"
    colour_jitter: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    random_erasing: RandomErasing = RandomErasing()
    mixup: float = Field(default=0.0, ge=0, le=100)
    cutmix: float = Field(default=0.0, ge=0, le=100)
    mix_probability: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _ranges(self) -> Augmentation:
        _require_shares("scale", self.scale)
        _require_ratios("ratio", self.ratio)
        strays = list(self.colour_jitter)
        if not all(0 <= stray <= 1 for stray in strays[:3]) or not 0 <= strays[3] <= 0.5:
            raise ValueError(
                f"colour_jitter: {strays} is not [brightness, contrast, saturation, hue], the first three within "
                "[0, 1], hue within [0, 0.5]"
            )
        return self

    @property
    def jitters(self) -> bool:
        """Whether colours are jittered."""
        return any(self.colour_jitter)

    @property
    def erases(self) -> bool:
        """Whether rectangles are painted over."""
        return self.random_erasing.probability > 0

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs, and labels with them."""
        return (self.mixup > 0 or self.cutmix > 0) and self.mix_probability > 0

    @property
    def on_device(self) -> bool:
        """Whether anything is left to do for `data_shards.augmentation.on_device`."""
        return self.jitters or self.erases or self.mixes


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
        for column, purpose in ((0, Purpose.SHIFT_X), (1, Purpose.SHIFT_Y)):
            shift = np.floor(uniform(seed, purpose, epoch, ids) * choices).astype(np.int32)
            windows[:, column] += shift - augmentation.padding
    flips = uniform(seed, Purpose.FLIP, epoch, ids) < 0.5 if augmentation.flip else np.zeros(len(ids), bool)
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
    area_share = _between(
        augmentation.scale, uniform(seed, Purpose.CROP_AREA, epoch, column, attempts)
    )  # [B, attempts]
    log_ratio = _between(tuple(np.log(augmentation.ratio)), uniform(seed, Purpose.CROP_RATIO, epoch, column, attempts))
    area = area_share * (heights * widths)[:, None]
    w = np.rint(np.sqrt(area * np.exp(log_ratio))).astype(np.int64)
    h = np.rint(np.sqrt(area * np.exp(-log_ratio))).astype(np.int64)
    fits = (w >= 1) & (h >= 1) & (w <= widths[:, None]) & (h <= heights[:, None])
    first = fits.argmax(axis=1)
    w, h = w[np.arange(B), first], h[np.arange(B), first]
    x = np.floor(uniform(seed, Purpose.SHIFT_X, epoch, ids) * (widths - w + 1)).astype(np.int64)
    y = np.floor(uniform(seed, Purpose.SHIFT_Y, epoch, ids) * (heights - h + 1)).astype(np.int64)
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
