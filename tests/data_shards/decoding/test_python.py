"""The Python reader: what a window of an image shows, and how an image that is not whole is named."""

import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from data_shards.augmentation.crops import Crops
from data_shards.decoding.python import decode, read_batch
from data_shards.errors import ShardDamage
from data_shards.store.index import open_split


def picture(height, width):
    """A smooth coloured scene, so that ways of resizing may be compared."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 37 + y / 53), np.cos(x / 61 - y / 43), np.sin((x + 2 * y) / 71)]
    return np.rint(127.5 + 120 * np.stack(waves, axis=2)).astype(np.uint8)


def stored(height, width):
    return simplejpeg.encode_jpeg(picture(height, width), quality=95, colorsubsampling="444")


def reference(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"))


def difference(ours, theirs):
    return np.abs(ours.astype(int) - theirs.astype(int))


def test_a_window_of_the_resolution_is_cut_out_unchanged():
    jpeg = stored(80, 100)
    ours = decode(jpeg, (30, 20, 32, 32), flip=False, resolution=32)
    assert ours.shape == (32, 32, 3)
    assert ours.dtype == np.uint8
    assert difference(ours, reference(jpeg)[20:52, 30:62]).max() <= 1


def test_flipping_mirrors_left_and_right():
    jpeg = stored(32, 32)
    whole = (0, 0, 32, 32)
    assert (decode(jpeg, whole, True, 32) == decode(jpeg, whole, False, 32)[:, ::-1]).all()


@pytest.mark.parametrize(("x", "y"), [(-4, -4), (4, 4), (-3, 2), (0, 4), (-4, 0)])
def test_beyond_the_border_the_image_is_reflected(x, y):
    jpeg = stored(32, 32)
    padded = np.pad(reference(jpeg), ((4, 4), (4, 4), (0, 0)), mode="reflect")
    ours = decode(jpeg, (x, y, 32, 32), flip=False, resolution=32)
    assert difference(ours, padded[4 + y : 36 + y, 4 + x : 36 + x]).max() <= 1


def test_reflection_goes_on_where_the_padding_exceeds_the_image():
    jpeg = stored(4, 4)
    padded = np.pad(reference(jpeg), ((9, 9), (9, 9), (0, 0)), mode="reflect")
    assert difference(decode(jpeg, (-9, -9, 22, 22), False, 22), padded).max() <= 1


@pytest.mark.parametrize(
    ("window", "resolution"),
    [
        ((10, 30, 200, 150), 160),  # about the same size
        ((0, 0, 640, 480), 160),  # much larger: decoded at a fraction of the size
        ((101, 57, 401, 333), 96),
        ((300, 200, 60, 50), 128),  # enlarged
        ((3, 5, 630, 470), 224),
    ],
)
def test_resizing_shows_what_another_library_shows(window, resolution):
    jpeg = stored(480, 640)
    x, y, w, h = window
    box = Image.open(io.BytesIO(jpeg)).resize((resolution,) * 2, Image.Resampling.BILINEAR, box=(x, y, x + w, y + h))
    error = difference(decode(jpeg, window, False, resolution), np.asarray(box))
    # At a fraction of the size the window is rounded to whole pixels, which moves it by up to half a pixel of the
    # result.
    assert error.mean() < 2.0
    assert error.max() <= 10


def test_grey_images_become_rgb():
    jpeg = simplejpeg.encode_jpeg(picture(32, 32)[:, :, :1].copy(), colorspace="GRAY", colorsubsampling="Gray")
    image = decode(jpeg, (0, 0, 32, 32), False, 32)
    assert image.shape == (32, 32, 3)
    assert (image[:, :, 0] == image[:, :, 2]).all()


def test_a_batch_holds_the_samples_in_the_order_asked_for(digits_root):
    split = open_split(digits_root, "test")
    ids = np.array([7, 3, 350, 3])
    what = Crops(np.tile(np.int32([0, 0, 32, 32]), (4, 1)), np.array([False, False, True, True]), 32)
    images = read_batch(split, ids, what)
    stored_images = [reference(split.read(sample)) for sample in ids]
    expected = np.stack([stored_images[0], stored_images[1], stored_images[2][:, ::-1], stored_images[3][:, ::-1]])
    assert difference(images, expected).max() <= 1


@pytest.mark.parametrize("jpeg", [b"", b"no image at all", stored(64, 64)[:700]])
def test_what_is_no_whole_jpeg_is_an_error(jpeg):
    with pytest.raises(ValueError):
        decode(jpeg, (0, 0, 32, 32), False, 32)


def test_an_undecodable_sample_is_named(digits_root, monkeypatch):
    split = open_split(digits_root, "train")
    monkeypatch.setattr(split, "read", lambda sample: b"\xff\xd8 then nothing")
    with pytest.raises(ShardDamage, match=r"train-000001\.tar: sample 000000205 at byte \d+: not a whole JPEG"):
        read_batch(split, np.array([205]), Crops(np.int32([[0, 0, 32, 32]]), np.array([False]), 32))
