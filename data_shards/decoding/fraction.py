"""Decoding a JPEG at a fraction of its size, as libjpeg does in a fraction of the time: which one, where the window is.

Both readers ask here, so that they show the same part of an image although only one of them decodes at the fraction.
"""

from __future__ import annotations

from typing import NamedTuple

EIGHTHS = (1, 2, 3, 4)  # of the size: the fractions that are faster than decoding whole, the smallest first


class Reduced(NamedTuple):
    """An image decoded at `eighths`/8 of its size: its sides then, and the window in its pixels (rounded)."""

    eighths: int
    height: int
    width: int
    window: tuple[int, int, int, int]


def reducible(window: tuple[int, ...], resolution: int) -> bool:
    """Whether `window` (x, y, width, height) has pixels enough for decoding at a fraction."""
    return min(window[2:]) >= 2 * resolution


def reduce(height: int, width: int, window: tuple[int, ...], resolution: int) -> Reduced:
    """The smallest fraction at which a reducible window still has `resolution` pixels each way."""
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


def shown(height: int, width: int, window: tuple[int, ...], resolution: int) -> tuple[float, ...]:
    """What the Python reader shows of a JPEG's `window`, in pixels of the stored image: left, top, right, bottom.

    That is the window itself, or, where it decodes a fraction, the window rounded to whole pixels of the fraction, of
    which each covers 8/`eighths` stored pixels.
    """
    x, y, w, h = window
    if not reducible(window, resolution):
        return x, y, x + w, y + h
    reduced = reduce(height, width, window, resolution)
    covers = 8 / reduced.eighths
    left, top, across, down = reduced.window
    right, bottom = (left + across) * covers, (top + down) * covers
    if x + w <= width:  # rounding may then reach beyond the image, where there is only what the decoder repeats
        right = min(right, width)
    if y + h <= height:
        bottom = min(bottom, height)
    return left * covers, top * covers, right, bottom


def _decoded(side: int, eighths: int) -> int:
    return -(-side * eighths // 8)  # rounded up, as libjpeg does
