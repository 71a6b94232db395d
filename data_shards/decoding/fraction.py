"""Decoding a JPEG at a fraction of its size, which libjpeg does in a fraction of the time.

The Python reader decodes at such a fraction; the DALI reader asks here too, so that both show the same part of an
image.
"""

from __future__ import annotations

from typing import NamedTuple

EIGHTHS = (1, 2, 3, 4)  # of the size: the fractions at which decoding is faster than as a whole


class Reduced(NamedTuple):
    """An image decoded at `eighths`/8 of its size.

    Attributes:
        height, width: of what is decoded, in pixels.
        window: the window in these pixels, rounded: x, y, width, height.
    """

    eighths: int
    height: int
    width: int
    window: tuple[int, int, int, int]


def reducible(window: tuple[int, ...], resolution: int) -> bool:
    """Whether a window (x, y, width, height) has so many pixels that a fraction of them will do."""
    return min(window[2:]) >= 2 * resolution


def reduce(height: int, width: int, window: tuple[int, ...], resolution: int) -> Reduced:
    """The smallest fraction of an image at which its window, a reducible one, has `resolution` pixels each way."""
    x, y, w, h = window
    will_do = (
        eighths
        for eighths in EIGHTHS
        if _decoded(height, eighths) * h >= height * resolution and _decoded(width, eighths) * w >= width * resolution
    )
    eighths = next(will_do)
    H, W = _decoded(height, eighths), _decoded(width, eighths)
    down, across = H / height, W / width
    left, top = round(x * across), round(y * down)
    w, h = max(round((x + w) * across) - left, 1), max(round((y + h) * down) - top, 1)
    return Reduced(eighths, H, W, (left, top, w, h))


def shown_edges(height: int, width: int, window: tuple[int, ...], resolution: int) -> tuple[float, ...]:
    """What the Python reader shows of a JPEG's window, in pixels of the stored image: left, top, right, bottom.

    That is the window itself; where it decodes at a fraction, it is the window rounded to whole pixels of the fraction,
    of which each covers 8/`eighths` stored pixels each way.
    """
    x, y, w, h = window
    if not reducible(window, resolution):
        return x, y, x + w, y + h
    reduced = reduce(height, width, window, resolution)
    covers = 8 / reduced.eighths
    left, top, across, down = reduced.window
    right, bottom = (left + across) * covers, (top + down) * covers
    if x + w <= width:  # rounded, it may reach beyond the image, where the decoder only repeats the outermost pixels
        right = min(right, width)
    if y + h <= height:
        bottom = min(bottom, height)
    return left * covers, top * covers, right, bottom


def _decoded(side: int, eighths: int) -> int:
    return -(-side * eighths // 8)  # rounded up, as libjpeg does
