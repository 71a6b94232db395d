"""Wherever bytes are flipped, cut, moved or lost, nothing wrong is read, and `verify` never calls it whole."""

import random
import shutil
import zlib

import pytest

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.loading.loader import DataConfig, EvaluationLoader
from data_shards.packing.pack import pack
from data_shards.sources.digits100 import Digits100
from data_shards.store.index import open_split
from data_shards.store.manifest import read_manifest
from data_shards.store.verify import verify
from tests.support.damage import KINDS, flip_bytes, garble_a_piece

CASES = 30  # of each kind of damage to each file


FILES = ["train/train-000000.tar", "train/train-000001.tar", "train/index.npy", "manifest.json"]


def everything(root):
    """All that can be read: the classes, and the pixels, labels and ids of each split."""
    read = [read_manifest(root).classes]
    for name in ("train", "test"):
        split = open_split(root, name)
        for batch in EvaluationLoader(split, DataConfig(shards=root, workers=0), 32, 4, 0, 1):
            read += [part.numpy().tobytes() for part in batch]
    return read


def attempt(work, *arguments, **keys):
    """What `work` returns, or the failure it tells of."""
    try:
        return work(*arguments, **keys)
    except (ShardDamage, ShardUsageError) as failure:
        return failure


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz") / "digits100"
    pack(Digits100(train=8, test=2, seed=0), root, samples_per_shard=5)
    return root, everything(root)


@pytest.fixture
def victim(whole, tmp_path):
    return shutil.copytree(whole[0], tmp_path / "digits100")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_change_is_read_as_data_or_verified_as_whole(whole, victim, file, kind):
    path, packed = victim / file, whole[1]
    content = path.read_bytes()
    lot = random.Random(f"{file} {kind.__name__}")
    for case in range(CASES):
        changed = kind(content, lot)
        if changed == content:
            continue
        path.write_bytes(changed)
        read = attempt(everything, victim)
        if isinstance(read, Exception):
            assert str(path) in str(read), f"case {case}"
            assert "\n" not in str(read), f"case {case}"
        else:
            assert read == packed, f"case {case}: other data was read, and nothing said"
        found = attempt(verify, victim, threads=1)
        if isinstance(found, Exception):
            assert str(path) in str(found), f"case {case}"
        else:
            assert {damage.shard for damage in found} == {str(path)}, f"case {case}"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("with_index", [True, False])
def test_headers_that_claim_the_impossible_are_only_damage(victim, with_index):
    """Fields that a tar's own checksum is made to confirm, and sizes of images beyond any memory."""
    path = victim / "train" / "train-000000.tar"
    content = path.read_bytes()
    if not with_index:
        (victim / "train" / "index.npy").write_bytes(b"")
    member = content.index(b"000000001.jpg")
    label = content.index(b"000000001.cls")
    dimensions = content.index(b"\xff\xc0", member) + 5
    for changed in (
        with_header(content, member, 124, b"\x80" + bytes(3) + b"\x7f" * 8),  # a size of 2^63
        with_header(content, member, 124, b"77777777777\0"),  # 8 GB
        with_header(content, label, 124, b"00000020000\0")[: label + 512] + b"9" * 8192 + content[label + 1024 :],
        content[:dimensions] + b"\xff\xff\xff\xff" + content[dimensions + 4 :],  # an image of 65535 × 65535
    ):
        path.write_bytes(changed)
        damages = [damage for damage in verify(victim, threads=1) if damage.shard == str(path)]
        assert "000000001" in {damage.key for damage in damages}


def test_a_header_with_a_negative_size_costs_its_own_sample_only(victim):
    path = victim / "train" / "train-000000.tar"
    content = path.read_bytes()
    path.write_bytes(with_header(content, content.index(b"000000001.jpg"), 124, b"\xff" * 12))
    assert {damage.key for damage in verify(victim, threads=1)} == {"000000001", None}


def with_header(content, header, offset, field):
    """The tar with a field of one header replaced, and the header's checksum made to fit."""
    block = bytearray(content[header : header + 512])
    block[offset : offset + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return content[:header] + bytes(block) + content[header + 512 :]


@pytest.mark.timeout(60)
def test_an_image_that_fits_its_checksum_but_is_none_is_named(victim):
    """As a faulty packer would have written it: everything fits together, and nothing can be decoded."""
    split = open_split(victim, "train")
    lot, row = random.Random(0), split.index[3]
    path, start = victim / "train" / "train-000000.tar", int(row["offset"])
    content = path.read_bytes()
    for _ in range(100):
        jpeg = garble_a_piece(flip_bytes(content[start : start + row["size"]], lot), lot)
        path.write_bytes(content[:start] + jpeg + content[start + len(jpeg) :])
        split = open_split(victim, "train")
        split.index = split.index.copy()
        split.index["crc32"][3] = zlib.crc32(jpeg)
        read = attempt(list, EvaluationLoader(split, DataConfig(shards=victim, workers=0), 32, 8, 0, 1, ids=[3]))
        if isinstance(read, ShardDamage):
            assert (read.shard, read.key, read.offset) == (str(path), "000000003", start)
        else:  # damage to coefficients may decode: only a checksum tells
            assert read[0].images.shape == (1, 32, 32, 3)
