"""The recipe's `data.augmentation`: how training images are varied.

The order is the usual one: crop and flip, then AutoAugment, both in the reader; then on the device, once per batch,
colour jitter, random erasing, mixup and cutmix. Elsewhere images are normalised between jitter and erasing. Here they
are normalised last: normalising is a linear function of each value, so that the result is the same.
"""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from data_shards.augmentation.auto_augment import AutoAugmentPolicy


def _require_shares(key: str, limits: tuple[float, float]) -> None:
    if not 0 < limits[0] <= limits[1] <= 1:
        raise ValueError(f"{key}: {list(limits)} is not a range within (0, 1]")


def _require_ratios(key: str, limits: tuple[float, float]) -> None:
    if not 0 < limits[0] <= limits[1] < math.inf:
        raise ValueError(f"{key}: {list(limits)} is not a range of positive numbers")


class RandomErasing(BaseModel):
    """A rectangle of the image is painted over (random erasing, Zhong et al., AAAI 2020).

    Attributes:
        probability: that it is done to an image.
        area: range of the rectangle's area, as a share of the image's.
        aspect: range of its width over its height.
        fill: `mean` paints ImageNet's mean colour, which is zero once normalised; `colour` paints a colour drawn for
            each image.
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

    Attributes:
        crop: `none` shows the centre square; `padded` moves it by up to `padding` pixels, and the image is continued
            beyond its border by reflection; `random_resized` shows a window of random area (`scale`, as a share of the
            image) and aspect (`ratio`, width over height).
        flip: mirrors an image with probability one half.
        auto_augment: the name of a published policy.
        colour_jitter: how far brightness, contrast and saturation may be from 1, and hue from 0 (in turns of the colour
            circle).
        mixup, cutmix: the α of Beta(α, α), from which an image's own share in the mixture is drawn; 0 is off; with both
            on, each pair of images gets one of them, with equal odds.
        mix_probability: that a pair is mixed at all.
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
        """Whether anything is left for the device to do (`augmentation.on_device`)."""
        return self.jitters or self.erases or self.mixes
