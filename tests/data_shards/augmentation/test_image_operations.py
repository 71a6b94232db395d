"""Each image operation does what PIL's does; AutoAugment's paper defines them by PIL's."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from data_shards.augmentation import image_operations as operations
from tests.data_shards.pictures import photo

PICTURES = {
    "photo": photo(60, 60, 1),
    "oblong": photo(48, 81, 2),
    "dark": photo(40, 40, 3) // 3 + 20,
    "one colour": np.full((20, 20, 3), (10, 200, 77), np.uint8),
    "two values": np.where(photo(32, 32, 4) > 120, np.uint8(90), np.uint8(30)),
    "a pixel": np.full((1, 1, 3), 5, np.uint8),
}
FILL = (124, 116, 104)


def difference(ours, theirs):
    return np.abs(ours.astype(int) - np.asarray(theirs).astype(int))


@pytest.fixture(params=PICTURES)
def picture(request):
    return PICTURES[request.param]


EXACT = {
    "invert": (lambda image: operations.invert(image), ImageOps.invert),
    "posterize to 4 bits": (lambda image: operations.posterize(image, 4), lambda image: ImageOps.posterize(image, 4)),
    "posterize to 7 bits": (lambda image: operations.posterize(image, 7), lambda image: ImageOps.posterize(image, 7)),
    "posterize to 8 bits": (lambda image: operations.posterize(image, 8), lambda image: ImageOps.posterize(image, 8)),
    "solarize from 110": (lambda image: operations.solarize(image, 110), lambda image: ImageOps.solarize(image, 110)),
    "solarize from 0": (lambda image: operations.solarize(image, 0), lambda image: ImageOps.solarize(image, 0)),
    "solarize from 256": (lambda image: operations.solarize(image, 256), lambda image: ImageOps.solarize(image, 256)),
    "auto contrast": (lambda image: operations.auto_contrast(image), ImageOps.autocontrast),
    "equalize": (lambda image: operations.equalize(image), ImageOps.equalize),
    "translate x": (
        lambda image: operations.translate_x(image, 7),
        lambda image: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 7, 0, 1, 0), fillcolor=FILL),
    ),
    "translate y": (
        lambda image: operations.translate_y(image, -5),
        lambda image: image.transform(image.size, Image.Transform.AFFINE, (1, 0, 0, 0, 1, -5), fillcolor=FILL),
    ),
}


@pytest.mark.parametrize("name", EXACT)
def test_operations_give_pils_pixels(name, picture):
    ours, theirs = EXACT[name]
    before = picture.copy()
    result = ours(picture)
    assert result.dtype == np.uint8
    assert (result == np.asarray(theirs(Image.fromarray(picture)))).all()
    assert (picture == before).all(), "the argument is left as it was"


@pytest.mark.parametrize("factor", [0.1, 0.55, 1.0, 1.4, 1.9])
@pytest.mark.parametrize(
    ("ours", "theirs", "tolerance"),
    [
        (operations.brightness, ImageEnhance.Brightness, 1),  # PIL cuts decimals off, these round
        (operations.contrast, ImageEnhance.Contrast, 2),  # and the mean grey
        (operations.colour, ImageEnhance.Color, 2),
        (operations.sharpness, ImageEnhance.Sharpness, 2),
    ],
)
def test_enhancements_give_pils_pixels_but_for_rounding(ours, theirs, tolerance, factor, picture):
    expected = theirs(Image.fromarray(picture)).enhance(factor)
    assert difference(ours(picture, factor), expected).max() <= tolerance
    if factor == 1.0:
        assert (ours(picture, factor) == picture).all()


@pytest.mark.parametrize("amount", [-0.3, -0.1, 0.2])
@pytest.mark.parametrize("name", ["photo", "oblong"])
def test_shearing_and_turning_show_pils_image(name, amount):
    picture = PICTURES[name]
    image = Image.fromarray(picture)
    bilinear = {"resample": Image.Resampling.BILINEAR, "fillcolor": FILL}
    pairs = [
        (
            operations.shear_x(picture, amount),
            image.transform(image.size, Image.Transform.AFFINE, (1, amount, 0, 0, 1, 0), **bilinear),
        ),
        (
            operations.shear_y(picture, amount),
            image.transform(image.size, Image.Transform.AFFINE, (1, 0, 0, amount, 1, 0), **bilinear),
        ),
        (operations.rotate(picture, 100 * amount), image.rotate(100 * amount, **bilinear)),
    ]
    for ours, theirs in pairs:
        filled = (np.asarray(theirs) == FILL).all(axis=2).astype(np.uint8)
        assert 0.02 < filled.mean() < 0.6
        # At the image's edge OpenCV blends with the fill, PIL does not: a seam of a pixel on either side is left out.
        inside = cv2.dilate(filled, np.ones((3, 3))) == 0
        inside[[0, -1]] = inside[:, [0, -1]] = False
        assert inside.mean() > 0.3
        assert difference(ours, theirs)[inside].max() <= 1
        beyond = cv2.erode(filled, np.ones((3, 3))) == 1
        assert (ours[beyond] == FILL).all()


def test_positive_angles_turn_counter_clockwise():
    picture = np.zeros((9, 9, 3), np.uint8)
    picture[4, 8] = 255  # to the right of the centre
    assert operations.rotate(picture, 90)[0, 4].tolist() == [255, 255, 255]
