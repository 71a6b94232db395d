"""The CPU reader: JPEG bytes to cropped, resized, mirrored uint8 images, by libjpeg-turbo and OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import simplejpeg

from data_shards.augment import Plan
from data_shards.fraction import reduce, reducible
from data_shards.index import Split


def decode(jpeg: bytes, window: Sequence[int], flip: bool, resolution: int) -> np.ndarray:
    """Decodes what `window` (x, y, width, height in pixels; beyond the border by reflection) shows of a JPEG.

    Returns uint8 RGB [resolution, resolution, 3], C-contiguous. Raises ValueError for what is not a whole JPEG.
    """
    x, y, w, h = window = tuple(int(value) for value in window)
    if reducible(window, resolution):
        height, width = (int(side) for side in simplejpeg.decode_jpeg_header(jpeg)[:2])
        reduced = reduce(height, width, window, resolution)
        image = simplejpeg.decode_jpeg(jpeg, min_height=reduced.height, min_width=reduced.width, min_factor=2)
        x, y, w, h = reduced.window
    else:
        image = simplejpeg.decode_jpeg(jpeg)
    part = _cut(image, x, y, w, h)
    if (h, w) != (resolution, resolution):
        shrinking = min(h, w) > resolution
        part = cv2.resize(
            part, (resolution, resolution), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        )
    return cv2.flip(part, 1) if flip else np.ascontiguousarray(part)


def read_batch(split: Split, ids: np.ndarray, plan: Plan) -> np.ndarray:
    """Reads and decodes samples `ids` (int [B]) as `plan` says: uint8 [B, resolution, resolution, 3].

    Raises ShardDamage, which names shard, key and offset, for the first sample that cannot be read or decoded.
    """
    cv2.setNumThreads(0)  # a process per core beats threads within an image of this size
    images = np.empty((len(ids), plan.resolution, plan.resolution, 3), np.uint8)
    for position, (sample, window, flip) in enumerate(
        zip(ids.tolist(), plan.windows.tolist(), plan.flips.tolist(), strict=True)
    ):
        jpeg = split.read(sample)
        try:
            images[position] = decode(jpeg, window, flip, plan.resolution)
        except ValueError as error:
            raise split.damage(sample, f"not a whole JPEG: {error}") from None
    return images


def _cut(image: np.ndarray, x: int, y: int, w: int, h: int) -> np.ndarray:
    """The window of an image [H, W, 3]; what lies beyond the border is reflected about the outermost pixel."""
    H, W = image.shape[:2]
    if x >= 0 and y >= 0 and x + w <= W and y + h <= H:
        return image[y : y + h, x : x + w]
    return image[_reflected(y, h, H)][:, _reflected(x, w, W)]


def _reflected(start: int, length: int, size: int) -> np.ndarray:
    period = max(2 * size - 2, 1)
    position = np.abs(np.arange(start, start + length)) % period
    return np.minimum(position, period - position)
