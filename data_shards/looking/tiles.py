"""Draws pictures side by side on a sheet, each with a caption below it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

_GAP, _LINE = 10, 22  # pixels between images, and for the caption below each
_PAPER, _INK = (250, 250, 250), (60, 60, 60)
_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45
_COMFORTABLE = 96  # pixels: smaller pictures are enlarged to about this, without smoothing


def draw_tiles(pictures: np.ndarray, captions: Sequence[str], columns: int) -> np.ndarray:
    """A sheet of pictures, line by line.

    Args:
        pictures: uint8 RGB [N, side, side, 3].
        captions: one for each. They are cut to the width of the pictures; what is not ASCII is shown as `?`.
        columns: number of pictures in a line.

    Returns:
        uint8 RGB [H, W, 3].
    """
    enlarge = max(1, round(_COMFORTABLE / pictures.shape[1]))
    pictures = pictures.repeat(enlarge, axis=1).repeat(enlarge, axis=2)
    side = pictures.shape[1]
    step_x, step_y = side + _GAP, side + _GAP + _LINE
    lines = math.ceil(len(pictures) / columns)
    sheet = np.full((lines * step_y + _GAP, columns * step_x + _GAP, 3), _PAPER, np.uint8)
    for position, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        y, x = _GAP + position // columns * step_y, _GAP + position % columns * step_x
        sheet[y : y + side, x : x + side] = picture
        text = _fitted(caption, side)
        (width, _), _ = cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)
        at = (x + (side - width) // 2, y + side + 15)
        cv2.putText(sheet, text, at, _FONT, _FONT_SCALE, _INK, 1, cv2.LINE_AA)
    return sheet


def _fitted(name: str, width: int) -> str:
    """The name as ASCII, which OpenCV can draw, cut to fit."""
    name = name.encode("ascii", "replace").decode()
    while len(name) > 1 and cv2.getTextSize(name, _FONT, _FONT_SCALE, 1)[0][0] > width:
        name = name.rstrip(".")[:-1] + "."
    return name
