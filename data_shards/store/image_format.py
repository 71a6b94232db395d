"""The formats in which images are stored: JPEG, and PNG for small images that are kept without loss.

There is one rule for the sizes of images, `check_size`: for packing, for `verify` and for the readers.
"""

from __future__ import annotations

import cv2
import numpy as np
import simplejpeg

IMAGE_EXTENSIONS = ("jpg", "png")

# The longest side that libjpeg takes; and 768 MiB of RGB, which is less than OpenCV takes. DALI takes both.
LONGEST_SIDE, MOST_PIXELS = 65_500, 2**28

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_HEADER_END = 33
_JPEG_END = b"\xff\xd9"


def is_png(encoded: bytes) -> bool:
    """Whether the bytes begin as a PNG does."""
    return encoded.startswith(_PNG_SIGNATURE)


def extension_of(encoded: bytes) -> str:
    """The extension under which an image is stored: one of `IMAGE_EXTENSIONS`."""
    return "png" if is_png(encoded) else "jpg"


def format_name(encoded: bytes) -> str:
    """The format in words: "PNG" or "JPEG". Whatever is no PNG is taken for a JPEG."""
    return "PNG" if is_png(encoded) else "JPEG"


def check_size(height: int, width: int) -> None:
    """Check the size of an image, in pixels, which must be neither empty nor too large.

    Raises:
        ValueError: images of this size are not packed, not verified and not read.
    """
    if min(height, width) < 1 or max(height, width) > LONGEST_SIDE or height * width > MOST_PIXELS:
        raise ValueError(
            f"it claims to be {width}×{height} pixels; an image has 1 to {LONGEST_SIDE:,} a side, and {MOST_PIXELS:,} "
            "in all at most"
        )


def claimed_size(encoded: bytes) -> tuple[int, int]:
    """Height and width in pixels, as the header of an image gives them.

    Raises:
        ValueError: there is no header, or the size fails `check_size`.
    """
    if is_png(encoded):
        if encoded[12:16] != b"IHDR" or len(encoded) < _PNG_HEADER_END:
            raise ValueError("it has no header")
        height, width = int.from_bytes(encoded[20:24], "big"), int.from_bytes(encoded[16:20], "big")
    else:
        height, width = (int(side) for side in simplejpeg.decode_jpeg_header(encoded)[:2])
    check_size(height, width)
    return height, width


def stored_size(encoded: bytes) -> tuple[int, int]:
    """Height and width in pixels of a whole image.

    A cut image is told by its missing end mark: a decoder may fill in what is missing and say nothing.

    Raises:
        ValueError: as `claimed_size` does; also where there is no end mark.
    """
    size = claimed_size(encoded)
    if not (b"IEND" in encoded[-16:] if is_png(encoded) else encoded.rfind(_JPEG_END) >= 0):
        raise ValueError("it has no end mark")
    return size


def decode_whole(encoded: bytes) -> np.ndarray:
    """Decode a stored image: uint8 RGB [H, W, 3].

    Raises:
        ValueError: it is not a whole JPEG or PNG.
    """
    if not is_png(encoded):
        return simplejpeg.decode_jpeg(encoded)
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # it is larger than OpenCV takes
        image = None
    if image is None:
        raise ValueError("the PNG is cut or altered")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def encode_png(image: np.ndarray) -> bytes:
    """The image, uint8 RGB [H, W, 3], as a PNG."""
    whole, png = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert whole, "OpenCV writes PNG"
    return png.tobytes()
