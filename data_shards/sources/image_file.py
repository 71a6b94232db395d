"""Prepares one image file: decodes all of it, and keeps it, if it is a plain JPEG, or resizes or re-encodes it."""

from __future__ import annotations

import io
import re
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from data_shards.errors import ShardUsageError
from data_shards.sources import Sample
from data_shards.store.image_format import check_size, stored_size

# PIL's warnings about details of a file are too many for a million of them. What it cannot decode, it raises.
warnings.filterwarnings("ignore", module=r"PIL\.")
Image.MAX_IMAGE_PIXELS = None  # our own rule, `check_size`, is applied before anything is decoded

# Read whatever a file's name is. PIL knows others, which start programs (EPS) or hide larger images (icons).
Image.init()
_FORMATS = {"JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "PPM", "GIF", "JPEG2000", "AVIF"} & set(Image.ID)

# libjpeg's only complaint about a picture of which nothing is missing: there are bytes between it and the end mark.
_ONLY_THE_END = re.compile(r"Corrupt JPEG data: \d+ extraneous bytes before marker 0xd9")


@dataclass(frozen=True)
class Preparation:
    """How image files are prepared.

    Attributes:
        short_side: larger images are shrunk until their short side has so many pixels; None keeps all sizes.
        quality: of JPEGs that are encoded anew, 1 to 100.

    Raises:
        ShardUsageError: a number is out of range.
    """

    short_side: int | None = None
    quality: int = 95

    def __post_init__(self):
        if self.short_side is not None and self.short_side < 1:
            raise ShardUsageError(f"short side: {self.short_side} is not a positive number of pixels")
        if not 1 <= self.quality <= 100:
            raise ShardUsageError(f"quality: {self.quality} is not a JPEG quality from 1 to 100")

    @property
    def options(self) -> dict[str, int | str]:
        sizes = {} if self.short_side is None else {"short-side": self.short_side}
        return {**sizes, "quality": self.quality}

    def sample(self, file: bytes, label: int) -> Sample:
        """Make a sample of an image file.

        Args:
            file: its bytes.

        Raises:
            ValueError: they cannot be decoded; the text tells why.
        """
        decoded = _decode_jpeg(file) if file.startswith(b"\xff\xd8") else _decode_other(file)
        image, change = decoded.image, None if decoded.odd is None else f"{decoded.odd} re-encoded"
        if self.short_side is not None and min(image.shape[:2]) > self.short_side:
            image = _shrink(image, self.short_side)
            change = change or "resized"
        height, width = image.shape[:2]
        encoded = file if change is None else self._encode(image, decoded.subsampling)
        stored_size(encoded)  # the readers' check
        return Sample(encoded, label, height, width, change)

    def _encode(self, image: np.ndarray, subsampling: str) -> bytes:
        colours = "GRAY" if image.shape[2] == 1 else "RGB"
        return simplejpeg.encode_jpeg(image, self.quality, colours, subsampling)


class _Decoded(NamedTuple):
    image: np.ndarray  # uint8 [H, W, 3], RGB, or [H, W, 1], grey
    subsampling: str  # of the colours, in simplejpeg's words: kept where a JPEG is encoded anew
    odd: str | None  # what it is, if that is not a plain JPEG


def _decode_jpeg(file: bytes) -> _Decoded:
    try:
        height, width, colours, subsampling = simplejpeg.decode_jpeg_header(file)
    except ValueError:  # its header is cut; or, rarely, its colours are sampled in a way that the readers cannot read
        return _decode_other(file)
    check_size(int(height), int(width))
    if colours in ("CMYK", "YCCK"):
        return _decode_other(file)
    target = "GRAY" if colours == "Gray" else "RGB"
    try:
        return _Decoded(simplejpeg.decode_jpeg(file, target), subsampling, None)
    except ValueError as error:
        if not _ONLY_THE_END.fullmatch(str(error)):
            raise
        return _Decoded(simplejpeg.decode_jpeg(file, target, strict=False), subsampling, "JPEG with a damaged end")


def _decode_other(file: bytes) -> _Decoded:
    """Decode anything but a JPEG of grey or of three colours."""
    if not file:
        raise ValueError("the file is empty (zero bytes)")
    try:
        with Image.open(io.BytesIO(file), formats=sorted(_FORMATS)) as picture:
            check_size(picture.height, picture.width)
            kind = str(picture.format)
            if picture.mode == "CMYK":
                kind = f"CMYK {kind}"
            elif kind == "JPEG":
                kind = "JPEG of unusual sampling"
            picture.load()
            if picture.mode.startswith("I;16"):  # conversion would cut off at 255
                grey = (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
                return _Decoded(grey[:, :, None], "Gray", kind)
            if picture.mode in ("I", "F"):
                raise ValueError(f"its values (mode {picture.mode}) are not those of a picture of 8 or 16 bits")
            if picture.mode in ("1", "L"):
                return _Decoded(np.asarray(picture.convert("L"))[:, :, None], "Gray", kind)
            return _Decoded(np.asarray(picture.convert("RGB")), "444", kind)
    except ValueError:
        raise
    except Exception as error:  # each format of PIL's raises errors of its own
        reason = "not an image of a known format" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise ValueError(" ".join(reason.split())) from None


def _shrink(image: np.ndarray, short_side: int) -> np.ndarray:
    height, width, channels = image.shape
    factor = short_side / min(height, width)
    size = max(round(width * factor), short_side), max(round(height * factor), short_side)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).reshape(size[1], size[0], channels)
