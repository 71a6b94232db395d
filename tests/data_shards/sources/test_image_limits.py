"""One rule for how large an image may be, in packing, in `verify` and in the readers."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from data_shards.augmentation.crops import evaluation_crops
from data_shards.decoding.encoded import read_encoded
from data_shards.decoding.python import read_batch
from data_shards.errors import ShardDamage, ShardUsageError, UndecodableImages
from data_shards.packing.pack import pack
from data_shards.sources import Sample
from data_shards.sources.digits import Digits
from data_shards.sources.folder import folder
from data_shards.sources.image_file import Preparation
from data_shards.store import image_format
from data_shards.store.image_format import LONGEST_SIDE, check_size, encode_png, stored_size
from data_shards.store.index import open_split
from data_shards.store.manifest import read_manifest
from data_shards.store.verify import verify

SIDE = 30_000


def claiming(form, side=SIDE):
    """A small image file whose header says that it is large."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(file, form)
    payload = bytearray(file.getvalue())
    if form == "JPEG":
        frame = payload.index(b"\xff\xc0")
        payload[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    elif form == "PNG":
        payload[16:24] = struct.pack(">II", side, side)
        payload[29:33] = struct.pack(">I", zlib.crc32(payload[12:29]))
    elif form == "BMP":
        payload[18:26] = struct.pack("<ii", side, side)
    else:
        payload = payload.replace(b"\n8 8\n", f"\n{side} {side}\n".encode())
    return bytes(payload)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, LONGEST_SIDE), (LONGEST_SIDE, 4098), (2**14, 2**14), (12_000, 20_000)]
)
def test_an_image_within_the_limits_is_taken(height, width):
    check_size(height, width)


@pytest.mark.parametrize(
    ("height", "width"), [(0, 5), (5, 0), (1, LONGEST_SIDE + 1), (LONGEST_SIDE, 4099), (2**14, 2**14 + 1), (SIDE, SIDE)]
)
def test_an_image_beyond_the_limits_is_told_with_its_size_and_theirs(height, width):
    with pytest.raises(
        ValueError, match=rf"claims to be {width}×{height} pixels; .* 65,500 a side, and 268,435,456 in"
    ):
        check_size(height, width)


def test_both_formats_can_be_written_up_to_the_longest_side():
    """Of a JPEG, libjpeg says so; a PNG may be longer, and is not taken then."""
    for encode in (simplejpeg.encode_jpeg, encode_png):
        assert stored_size(encode(np.zeros((1, LONGEST_SIDE, 3), np.uint8))) == (1, LONGEST_SIDE)
    with pytest.raises(ValueError, match="claims to be 65501×1 "):
        stored_size(encode_png(np.zeros((1, LONGEST_SIDE + 1, 3), np.uint8)))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "PPM"])
def test_a_file_that_claims_to_be_too_large_is_not_decoded_whatever_its_format(form):
    for preparation in (Preparation(), Preparation(short_side=64)):
        with pytest.raises(ValueError, match=f"claims to be {SIDE}×{SIDE} pixels"):
            preparation.sample(claiming(form), 0)


def test_no_format_has_a_limit_of_its_own():
    """Pillow's would be 179 million pixels, two thirds of ours."""
    with pytest.raises(ValueError) as raised:
        Preparation().sample(claiming("PNG", side=15_000), 0)
    assert "truncated" in str(raised.value), "the size is taken, the file is cut"


def test_a_file_that_pillow_would_start_a_program_for_is_no_image():
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    with pytest.raises(ValueError, match="not an image of a known format"):
        Preparation().sample(script, 0)


@pytest.fixture
def src(tmp_path, photo_file, write_tree):
    """Four images in each class and split, and one in `train/b` that claims too much."""
    files = {f"{split}/{name}/{image}.jpg": photo_file(image) for split in ("train", "test") for name in "ab" for image in range(4)}  # fmt: skip  # noqa: E501
    return write_tree(tmp_path / "src", {**files, "train/b/huge.jpg": claiming("JPEG")})


def test_an_image_that_is_too_large_is_named_and_not_packed(src, tmp_path):
    with pytest.raises(UndecodableImages, match=rf"train/b/huge\.jpg: it claims to be {SIDE}×{SIDE} pixels"):
        pack(folder(src, Preparation()), tmp_path / "out")
    assert os.listdir(tmp_path / "out") == [".packing"]


def test_an_image_that_is_too_large_is_left_out_on_request_and_the_rest_is_whole(src, tmp_path):
    assert pack(folder(src, Preparation()), tmp_path / "out", on_corrupt="skip")
    (left_out,) = read_manifest(tmp_path / "out").notes.left_out
    assert left_out.name == f"{src}/train/b/huge.jpg"
    assert verify(tmp_path / "out") == []


class Other(Digits):
    """The digits, but for the first sample, which a test has chosen."""

    def __init__(self, sample):
        self.sample = sample

    def samples(self, split, positions):
        yield self.sample
        yield from super().samples(split, positions[1:])


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (Sample(claiming("JPEG"), 0, SIDE, SIDE), "is not a whole JPEG: it claims to be 30000×30000 pixels"),
        (Sample(claiming("PNG"), 0, SIDE, SIDE), "is not a whole PNG: it claims to be 30000×30000 pixels"),
        (Sample(encode_png(np.zeros((8, 9, 3), np.uint8)), 0, 8, 8), "is 9×8 pixels, not 8×8 as it says"),
        (Sample(b"no image", 0, 8, 8), "is not a whole JPEG: "),
    ],
)
def test_whatever_the_source_nothing_is_packed_that_the_readers_would_not_take(sample, message, tmp_path):
    with pytest.raises(ShardUsageError, match=rf"digits: sample 0 of \w+ {message}"):
        pack(Other(sample), tmp_path / "out", threads=1)


def test_verify_and_the_readers_refuse_what_packing_refuses(photos_root, monkeypatch):
    """With a lower limit, all of them call the same images damaged, and no others."""
    split = open_split(photos_root, "train")
    longest = np.maximum(split.index["height"], split.index["width"])
    limit = int(np.median(longest))
    beyond = set(np.flatnonzero(longest > limit).tolist())
    assert 0 < len(beyond) < len(split)
    monkeypatch.setattr(image_format, "LONGEST_SIDE", limit)
    assert beyond == {
        int(damage.key) + more
        for damage in verify(photos_root)
        if damage.shard.endswith("train-000000.tar") and "claims to be" in damage.reason
        for more in range(damage.samples)
    }
    readers = (
        lambda ids, rows: read_batch(split, ids, evaluation_crops(rows["height"], rows["width"], 16)),
        lambda ids, rows: read_encoded(split, ids),  # what DALI is given
    )
    for read in readers:
        refused = set()
        for sample in range(len(split)):
            try:
                read(np.array([sample]), split.index[[sample]])
            except ShardDamage as damage:
                refused.add((sample, "claims to be" in damage.reason))
        assert refused == {(sample, True) for sample in beyond}
