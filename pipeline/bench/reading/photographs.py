"""Generated JPEGs with the statistics of photographs, in class folders and packed as shards.

Detail falls off with frequency as in natural scenes through a lens, and things stand in front of each other with sharp
edges. At quality 90 that comes to some two bits per pixel, as with photographs, and hence to their decoding time.
The colour cast of a picture is its class's, so that one can tell from any part of it whether the label belongs to it.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

from data_shards.packing.pack import pack
from data_shards.sources.folder import folder as folder_source
from data_shards.sources.image_file import Preparation
from data_shards.store.index import open_split

QUALITY = 90
CLASSES = ("blue", "green", "orange", "purple")  # in order of their names, as they are numbered

# Of red and of blue against green, in grey levels, by class.
CASTS = np.array([(-24, 24), (-24, -24), (24, -24), (24, 24)], np.float32)

_FIELD = 1024  # side of the field that pictures are cut from
_FALL = 1.4  # its amplitude falls with this power of the frequency: within what is found in natural scenes
_DETAIL = 38.0  # its standard deviation, in grey levels
_LEAVES = 8  # things in a picture


class Photographs(NamedTuple):
    """A data set of generated JPEGs.

    Attributes:
        folder: with the files, as train/CLASS/FILE.
        shards: folder of the data set packed from them.
        sides: the range of the pictures' sides, pixels.
    """

    name: str
    sides: tuple[int, int]
    images: int
    folder: Path
    shards: Path

    @property
    def bits_per_pixel(self) -> float:
        """On average, as compressed."""
        index = open_split(self.shards, "train").index
        pixels = index["height"].astype(np.int64) * index["width"]
        return 8 * float(index["size"].sum()) / float(pixels.sum())


def photograph(generator: np.random.Generator, label: int, sides: tuple[int, int]) -> np.ndarray:
    """uint8 RGB [H, W, 3] with sides drawn from `sides` (both included)."""
    height, width = (int(side) for side in generator.integers(sides[0], sides[1] + 1, 2))
    top, left = (int(generator.integers(0, _FIELD - side + 1)) for side in (height, width))
    contrast = generator.uniform(0.6, 1.4)
    field = contrast * _field()[top : top + height, left : left + width]
    shade = np.full((height, width), generator.uniform(90, 165), np.float32)
    for _ in range(_LEAVES):
        centre = (int(generator.integers(width)), int(generator.integers(height)))
        axes = tuple(int(axis) for axis in min(height, width) * generator.uniform(0.05, 0.35, 2))
        angle, grey = float(generator.uniform(0, 180)), float(generator.uniform(50, 205))
        cv2.ellipse(shade, centre, axes, angle, 0, 360, grey, -1)
    red, blue = CASTS[label]
    image = field + shade[:, :, None] + np.array([red, 0, blue], np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def make_photographs(root: Path, sides: tuple[int, int], images: int, shards: int) -> Photographs:
    """Draw `images` training pictures and a few held-out ones below `root`, and pack them into `shards` shards.

    Always the same for the same arguments.
    """
    name = f"{sides[0]}-{sides[1]} px"
    folder = root / f"{sides[0]}-{sides[1]}"
    made = Photographs(name, sides, images, folder / "files", folder / "shards")
    generator = np.random.default_rng(sides)
    for split, count in (("train", images), ("test", len(CLASSES))):
        for class_name in CLASSES:
            (made.folder / split / class_name).mkdir(parents=True)
        for number in range(count):
            label = number % len(CLASSES)
            jpeg = simplejpeg.encode_jpeg(photograph(generator, label, sides), QUALITY, colorsubsampling="420")
            (made.folder / split / CLASSES[label] / f"{number:06d}.jpg").write_bytes(jpeg)
    pack(folder_source(made.folder, Preparation()), made.shards, samples_per_shard=-(-images // shards))
    return made


@lru_cache(maxsize=1)
def _field() -> np.ndarray:
    """float32 [side, side, 3]: noise of many scales, mostly common to the colours."""
    generator = np.random.default_rng(0)
    down, across = np.meshgrid(np.fft.fftfreq(_FIELD), np.fft.rfftfreq(_FIELD), indexing="ij")
    frequency = np.hypot(down, across)
    frequency[0, 0] = np.inf  # the mean is the picture's own
    planes = []
    for strength in (1.0, 0.15, 0.15):  # lightness, and two differences of colour
        spectrum = np.fft.rfft2(generator.standard_normal((_FIELD, _FIELD))) / frequency**_FALL
        plane = np.fft.irfft2(spectrum, s=(_FIELD, _FIELD))
        planes.append(strength * _DETAIL * plane / plane.std())
    light, one, other = planes
    return np.stack([light + one, light, light + other], axis=2).astype(np.float32)
