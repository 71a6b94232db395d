"""One image file: what is kept as it is, what is resized or encoded anew, and what cannot be decoded."""

import io

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from data_shards.errors import ShardUsageError
from data_shards.sources.image_file import Preparation
from data_shards.store.image_format import decode_whole, extension_of


def saved(image, form, mode="RGB", **options):
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, form, **options)
    return file.getvalue()


def mean_difference(one, other):
    return np.abs(one.astype(int) - other.astype(int)).mean()


@pytest.mark.parametrize("subsampling", ["444", "422", "420"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_plain_jpeg_is_kept_to_the_byte(photo, subsampling, progressive):
    names = {"444": 0, "422": 1, "420": 2}
    file = saved(photo(1), "JPEG", quality=80, subsampling=names[subsampling], progressive=progressive)
    sample = Preparation().sample(file, 3)
    assert (sample.encoded, sample.label, sample.height, sample.width, sample.change) == (file, 3, 24, 32, None)


def test_a_grey_jpeg_and_one_with_bytes_behind_it_are_kept(photo):
    grey = saved(photo(1), "JPEG", "L", quality=80)
    assert Preparation().sample(grey, 0).encoded == grey
    assert Preparation().sample(grey + b"\0\0appended", 0).encoded == grey + b"\0\0appended"


@pytest.mark.parametrize(
    ("form", "mode", "options", "change"),
    [
        ("JPEG", "CMYK", {"quality": 95}, "CMYK JPEG re-encoded"),
        ("PNG", "RGB", {}, "PNG re-encoded"),
        ("PNG", "RGBA", {}, "PNG re-encoded"),
        ("PNG", "P", {}, "PNG re-encoded"),
        ("PNG", "L", {}, "PNG re-encoded"),
        ("PNG", "I;16", {}, "PNG re-encoded"),
        ("PNG", "1", {}, "PNG re-encoded"),
        ("BMP", "RGB", {}, "BMP re-encoded"),
        ("WEBP", "RGB", {"lossless": True}, "WEBP re-encoded"),
        ("TIFF", "CMYK", {}, "CMYK TIFF re-encoded"),
    ],
)
def test_all_else_becomes_a_jpeg_of_the_same_picture(photo, form, mode, options, change):
    picture = photo(2)
    if mode == "I;16":
        grey = np.asarray(Image.fromarray(picture).convert("L"))
        file = io.BytesIO()
        Image.fromarray(grey.astype(np.uint16) * 257).save(file, form)
        file, expected = file.getvalue(), np.repeat(grey[:, :, None], 3, axis=2)
    else:
        file = saved(picture, form, mode, **options)
        expected = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    sample = Preparation().sample(file, 0)
    assert sample.change == change
    assert extension_of(sample.encoded) == "jpg"
    image = decode_whole(sample.encoded)
    assert image.shape == (sample.height, sample.width, 3) == picture.shape
    assert mean_difference(image, expected) < 4


def test_a_jpeg_with_a_damaged_end_is_encoded_anew(photo_file):
    file = photo_file(3)
    odd = file[:-2] + b"\0" * 20 + file[-2:]
    with pytest.raises(ValueError):
        simplejpeg.decode_jpeg(odd)
    sample = Preparation(quality=100).sample(odd, 0)
    assert sample.change == "JPEG with a damaged end re-encoded"
    assert mean_difference(decode_whole(sample.encoded), decode_whole(file)) < 4


@pytest.mark.parametrize(("height", "width", "expected"), [(60, 100, (24, 40)), (90, 48, (45, 24)), (24, 99, (24, 99))])
def test_the_short_side_is_shrunk_and_never_enlarged(photo, photo_file, height, width, expected):
    file = photo_file(4, height, width)
    sample = Preparation(short_side=24).sample(file, 0)
    assert (sample.height, sample.width) == expected == decode_whole(sample.encoded).shape[:2]
    assert sample.change == (None if (height, width) == expected else "resized")
    reference = np.asarray(Image.fromarray(decode_whole(file)).resize(expected[::-1], Image.Resampling.BOX))
    assert mean_difference(decode_whole(sample.encoded), reference) < 3
    assert simplejpeg.decode_jpeg_header(sample.encoded)[3] == "420", "as the source's"


def test_a_grey_image_stays_grey_when_it_is_shrunk(photo):
    sample = Preparation(short_side=10).sample(saved(photo(1), "JPEG", "L", quality=90), 0)
    assert simplejpeg.decode_jpeg_header(sample.encoded)[2] == "Gray"
    assert (sample.height, sample.width) == (10, 13)


def test_quality_is_that_of_the_jpegs_written(photo):
    file = saved(photo(5, 200, 200), "PNG")
    sizes = [len(Preparation(quality=quality).sample(file, 0).encoded) for quality in (30, 95)]
    assert sizes[0] < sizes[1] / 2


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TIFF"])
def test_a_cut_file_is_undecodable_in_one_line(photo, form, capfd):
    file = saved(photo(6), form)
    for cut in (file[: len(file) // 2], file[:30]):
        with pytest.raises(ValueError) as raised:
            Preparation().sample(cut, 0)
        assert str(raised.value)
        assert "\n" not in str(raised.value)
    assert capfd.readouterr().err == "", "no library talks past the report"


@pytest.mark.parametrize(
    "file", [b"", b"\0" * 100, b"<html>not found</html>", b"\xff\xd8", b"\xff\xd8\xff\xe0 then not"]
)
def test_what_is_no_image_is_undecodable(file):
    with pytest.raises(ValueError):
        Preparation().sample(file, 0)


def test_a_cut_jpeg_is_undecodable(photo_file):
    file = photo_file(7)
    for size in (len(file) - 2, len(file) // 2, 200):
        with pytest.raises(ValueError):
            Preparation().sample(file[:size], 0)


@pytest.mark.parametrize(
    ("options", "message"), [({"short_side": 0}, "short side: 0"), ({"quality": 101}, "quality: 101")]
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ShardUsageError, match=message):
        Preparation(**options)
