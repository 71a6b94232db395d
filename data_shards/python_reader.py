"""The CPU reader: stored images to cropped, resized, mirrored uint8 images, by libjpeg-turbo and OpenCV."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import simplejpeg

from data_shards.augment import Plan
from data_shards.image_format import decode_whole, format_name, is_png
from data_shards.index import Split


def decode(encoded: bytes, window: Sequence[int], flip: bool, resolution: int) -> np.ndarray:
    """Decodes what `window` (x, y, width, height in pixels; beyond the border by reflection) shows of an
    image stored as JPEG or PNG.

    Returns uint8 RGB [resolution, resolution, 3], C-contiguous. Raises ValueError for what is not a whole image.
    """
    x, y, w, h = (int(value) for value in window)
    if min(w, h) >= 2 * resolution and not is_png(encoded):
        # libjpeg can decode at a fraction of the size, in a fraction of the time, as long as the window keeps at
        # least the resolution asked for.
        height, width = (int(side) for side in simplejpeg.decode_jpeg_header(encoded)[:2])
        image = simplejpeg.decode_jpeg(
            encoded,
            min_height=math.ceil(height * resolution / h),
            min_width=math.ceil(width * resolution / w),
            min_factor=2,
        )
        across, down = image.shape[1] / width, image.shape[0] / height
        left, top = round(x * across), round(y * down)
        x, w = left, max(round((x + w) * across) - left, 1)
        y, h = top, max(round((y + h) * down) - top, 1)
    else:
        image = decode_whole(encoded)
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
        encoded = split.read(sample)
        try:
            images[position] = decode(encoded, window, flip, plan.resolution)
        except ValueError as error:
            raise split.damage(sample, f"not a whole {format_name(encoded)}: {error}") from None
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
