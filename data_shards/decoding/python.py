"""The Python reader: decodes, crops, resizes and mirrors images on the CPU, by libjpeg-turbo and OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import simplejpeg

from data_shards.augmentation.crops import Crops
from data_shards.decoding.encoded import read_image
from data_shards.decoding.fraction import reduce, reducible
from data_shards.decoding.pillow import resize
from data_shards.store.image_format import MOST_PIXELS, decode_whole, format_name, is_png
from data_shards.store.index import Split


def decode(encoded: bytes, window: Sequence[int], flip: bool, resolution: int) -> np.ndarray:
    """What a window shows of an encoded image, resized.

    Args:
        encoded: the image as JPEG or PNG.
        window: x, y, width and height, in pixels. Beyond its border the image is continued by reflection.
        flip: whether to mirror left and right.
        resolution: side of the result in pixels.

    Returns:
        uint8 RGB [resolution, resolution, 3], C-contiguous.

    Raises:
        ValueError: `encoded` is not a whole image.
    """
    x, y, w, h = window = tuple(int(value) for value in window)
    if reducible(window, resolution) and not is_png(encoded):
        height, width = (int(side) for side in simplejpeg.decode_jpeg_header(encoded)[:2])
        reduced = reduce(height, width, window, resolution)
        image = simplejpeg.decode_jpeg(encoded, min_height=reduced.height, min_width=reduced.width, min_factor=2)
        x, y, w, h = reduced.window
    else:
        image = decode_whole(encoded)
    part = _cut(image, x, y, w, h)
    if (h, w) != (resolution, resolution):
        shrinking = min(h, w) > resolution
        part = cv2.resize(
            part, (resolution, resolution), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        )
    return cv2.flip(part, 1) if flip else np.ascontiguousarray(part)


def read_batch(split: Split, ids: np.ndarray, crops: Crops) -> np.ndarray:
    """Read and decode samples.

    Args:
        ids: of the samples, int [B].
        crops: what to show of each.

    Returns:
        uint8 RGB [B, resolution, resolution, 3].

    Raises:
        ShardDamage: for the first sample that cannot be read or decoded; shard, key and offset are named.
    """
    cv2.setNumThreads(0)  # a process per core beats threads within an image of this size
    if crops.first is not None:
        _check_sizes(split, ids, crops.first.sizes)
    images = np.empty((len(ids), crops.resolution, crops.resolution, 3), np.uint8)
    for position, (sample, window, flip) in enumerate(
        zip(ids.tolist(), crops.windows.tolist(), crops.flips.tolist(), strict=True)
    ):
        encoded = read_image(split, sample)
        try:
            if crops.first is None:
                images[position] = decode(encoded, window, flip, crops.resolution)
            else:
                height, width = crops.first.sizes[position].tolist()
                resized = resize(decode_whole(encoded), height, width, crops.first.interpolation)
                images[position] = _cut(resized, *window)
        except ValueError as error:
            raise split.damage(sample, f"not a whole {format_name(encoded)}: {error}") from None
    return images


def _check_sizes(split: Split, ids: np.ndarray, sizes: np.ndarray) -> None:
    """An image so elongated that it would fill the memory when its short side is enlarged is named, and not read."""
    for position in np.flatnonzero(sizes.prod(axis=1) > MOST_PIXELS):
        height, width = sizes[position]
        raise split.damage(
            int(ids[position]), f"is {width} x {height} pixels when resized, which is more than {MOST_PIXELS:,} in all"
        )


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
