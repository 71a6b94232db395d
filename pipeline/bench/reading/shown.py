"""What a contender shows of a data set, and whether that is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch

from data_shards.sampler import EpochSampler
from data_shards.store.index import open_split
from pipeline.bench.reading.photographs import CASTS, Photographs

RESOLUTION, BATCH, PREFETCH, SEED = 160, 64, 2, 0
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours, in shares of white

# The noise of the colours hides the cast in some crops; four labels at random are right in a quarter.
_RIGHT_CASTS = 0.9


class Shown(NamedTuple):
    """A batch.

    Attributes:
        images: uint8 [B, 160, 160, 3]; or float32 [B, 3, 160, 160], normalised; or, from one that only decodes, B
            arrays uint8 [H, W, 3].
        labels: [B].
        ids: [B]; None from a contender that knows none.
    """

    images: torch.Tensor | Sequence[np.ndarray]
    labels: torch.Tensor
    ids: torch.Tensor | None


@dataclass(frozen=True)
class Promise:
    """What a contender's pass over the data comes to.

    Attributes:
        form: of the images, see `Shown`.
        sampled: by our sampler, which tells the ids.
        remainder: whether images that fill no batch are shown, too.
    """

    form: Literal["uint8", "normalised", "whole"] = "uint8"
    sampled: bool = False
    remainder: bool = False


def complaint(data: Photographs, promise: Promise, one_pass: Iterator[Shown]) -> str | None:
    """What is wrong with a pass over `data`, in a few words; None where nothing is."""
    sampler, index = EpochSampler(data.images, BATCH, SEED), open_split(data.shards, "train").index
    images, right = 0, 0
    for step, shown in enumerate(one_pass):
        B, labels = len(shown.images), np.asarray(shown.labels)
        if labels.shape != (B,):
            return f"labels are {list(labels.shape)} for {B} images"
        if promise.sampled:
            ids = sampler.ids(step)
            if shown.ids is None or not np.array_equal(shown.ids.numpy(), ids):
                return f"the ids of batch {step} are not the sampler's"
            if not np.array_equal(labels, index["label"][ids]):
                return f"the labels of batch {step} are not the index's"
        if wrong := _wrong_form(shown, promise, index):
            return wrong
        images, right = images + B, right + int((_casts(shown.images) == labels).sum())
    wanted = data.images if promise.remainder else data.images // BATCH * BATCH
    if images != wanted:
        return f"one pass shows {images} images, not {wanted}"
    if right < _RIGHT_CASTS * images:
        return f"{images - right} of {images} images do not show their label"
    return None


def _wrong_form(shown: Shown, promise: Promise, index: np.ndarray) -> str | None:
    images, B = shown.images, len(shown.images)
    if not isinstance(images, torch.Tensor):
        rows = index[np.asarray(shown.ids)]
        sizes = np.stack([rows["height"], rows["width"]], axis=1).tolist()
        whole = promise.form == "whole" and [list(image.shape[:2]) for image in images] == sizes
        return None if whole else "pictures are not of the sizes that the index says"
    side = RESOLUTION
    dtype, shape = {
        "uint8": (torch.uint8, [B, side, side, 3]),
        "normalised": (torch.float32, [B, 3, side, side]),
        "whole": (torch.uint8, []),
    }[promise.form]
    if (images.dtype, list(images.shape)) != (dtype, shape):
        return f"images are {images.dtype} {list(images.shape)}, not {dtype} {shape}"
    return None


def _casts(images: torch.Tensor | Sequence[np.ndarray]) -> np.ndarray:
    """The label that the colours of each image speak for, -1 for none: int64 [B]."""
    if not isinstance(images, torch.Tensor):
        colours = np.stack([image.mean(axis=(0, 1)) for image in images])
    elif images.dtype == torch.uint8:
        colours = images.float().mean(dim=(1, 2)).cpu().numpy()
    else:
        colours = (images.mean(dim=(2, 3)) * torch.tensor(STD) + torch.tensor(MEAN)).numpy()
    red, green, blue = colours.T
    against_green = np.sign(np.stack([red - green, blue - green], axis=1))  # [B, 2]
    match = (against_green[:, None] == np.sign(CASTS)).all(axis=2)  # [B, classes]
    return np.where(match.any(axis=1), match.argmax(axis=1), -1)
