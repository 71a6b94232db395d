"""Values in an index that cannot be right are refused, by its shards and by the images, whatever its checksum."""

import hashlib
import os

import numpy as np
import pytest

from data_shards.config import DataConfig
from data_shards.decoding import dali as dali_reader
from data_shards.errors import ShardDamage
from data_shards.loading.loader import EvaluationLoader, TrainLoader
from data_shards.store import index_rows
from data_shards.store.index import open_split, read_index
from data_shards.store.index_rows import INDEX_DTYPE, strange_rows
from data_shards.store.manifest import ShardEntry, SplitEntry
from data_shards.store.verify import verify
from tests.data_shards.crafted import craft_index

SAMPLE = 47  # of the second shard
READERS = ["python", pytest.param("dali", marks=pytest.mark.skipif(not dali_reader.installed(), reason="needs DALI"))]


def setting(**values):
    def change(rows):
        for field, value in values.items():
            rows[field][SAMPLE] = value

    return change


def overlapping(rows):
    rows["offset"][SAMPLE] = rows["offset"][SAMPLE - 1]


def swapped(rows):
    rows[[SAMPLE, SAMPLE + 1]] = rows[[SAMPLE + 1, SAMPLE]]


@pytest.mark.parametrize(
    ("change", "reason", "sample"),
    [
        (setting(shard=0), "the shard 0 is not the one that holds this sample (1 such", SAMPLE),
        (setting(shard=4), "the shard 4 is not the one that holds this sample (1 such", SAMPLE),
        (setting(shard=2**32 - 1), "the shard 4294967295 is not the one", SAMPLE),
        (setting(offset=2**63), "at byte 9223372036854775808 does not lie in a shard of", SAMPLE),
        (setting(offset=2**64 - 512), "does not lie in a shard of", SAMPLE),
        (setting(offset=0), "an image of", SAMPLE),
        (setting(offset=1025), "does not lie in a shard of", SAMPLE),
        (setting(size=2**32 - 1), "an image of 4294967295 bytes at byte", SAMPLE),
        (setting(size=0), "an image of 0 bytes at byte", SAMPLE),
        (setting(size=4000), "begins before the end of the sample before it", SAMPLE + 1),
        (overlapping, "begins before the end of the sample before it", SAMPLE),
        (swapped, "begins before the end of the sample before it", SAMPLE + 1),
        (setting(height=0), "no image has 32 × 0 pixels", SAMPLE),
        (setting(width=0), "no image has 0 × 32 pixels", SAMPLE),
        (setting(height=2**32 - 1, width=2**32 - 1), "no image has 4294967295 × 4294967295 pixels", SAMPLE),
        (setting(height=65501, width=1), "no image has 1 × 65501 pixels", SAMPLE),
        (setting(height=65535, width=65535), "no image has 65535 × 65535 pixels", SAMPLE),
        (setting(label=-1), "the label -1 is not one of 0 … 99", SAMPLE),
        (setting(label=2**31 - 1), "the label 2147483647 is not one of 0 … 99", SAMPLE),
    ],
)
def test_what_no_shard_has_room_for_is_told_when_it_is_opened(breakable, change, reason, sample):
    craft_index(breakable, change)
    path = breakable / "train" / "index.npy"
    with pytest.raises(ShardDamage) as caught:
        open_split(breakable, "train")
    damage = caught.value
    assert reason in damage.reason
    assert (damage.shard, damage.key) == (str(path), f"{sample:09d}")
    row = np.frombuffer(path.read_bytes()[damage.offset :][:32], INDEX_DTYPE)
    assert row == np.load(path)[sample], "the offset is that of the sample's row"
    (found,) = [found for found in verify(breakable) if found.shard == str(path)]
    assert (found.key, found.offset, found.reason) == (damage.key, damage.offset, damage.reason)


def evaluation(root, **keys):
    return EvaluationLoader(open_split(root, "train"), DataConfig(shards=root, workers=0, **keys), 32, 50, 0, 1)


def sequential(root, **keys):
    config = DataConfig(shards=root, workers=0, access="sequential", shuffle_block=32, **keys)
    return TrainLoader(open_split(root, "train"), config, 32, 50, 0, 0, 1, 0, 3)


@pytest.mark.parametrize("size", [{"height": 65500}, {"width": 1}, {"height": 33}, {"height": 16384, "width": 16384}])
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("loading", [evaluation, sequential])
def test_a_size_that_is_not_the_images_own_is_told_when_it_is_read(breakable, loading, reader, size):
    craft_index(breakable, setting(**size))
    offset = int(open_split(breakable, "train").index["offset"][SAMPLE])
    told = {"height": 32, "width": 32} | size
    with pytest.raises(ShardDamage) as caught:
        list(loading(breakable, reader=reader))
    damage = caught.value
    assert (damage.shard, damage.key, damage.offset) == (
        str(breakable / "train" / "train-000001.tar"), f"{SAMPLE:09d}", offset,
    )  # fmt: skip
    assert damage.reason == f"is 32 x 32 pixels; the index says {told['width']} x {told['height']}"
    assert [found.key for found in verify(breakable)] == [damage.key]


def test_an_index_that_is_larger_than_its_samples_is_not_read(breakable):
    os.truncate(breakable / "train" / "index.npy", 2**40)
    with pytest.raises(ShardDamage, match=r"index\.npy: has 1099511627776 bytes, more than the index of 150 samples"):
        open_split(breakable, "train")


def test_a_split_without_samples_has_nothing_strange():
    assert strange_rows(np.zeros(0, INDEX_DTYPE), (), 10) is None


def test_one_row_is_looked_at_as_many_are(tmp_path):
    rows = np.zeros(1, INDEX_DTYPE)
    rows["offset"], rows["size"], rows["height"], rows["width"] = 512, 700, 5, 7
    np.save(tmp_path / "index.npy", rows)
    digest = hashlib.sha256((tmp_path / "index.npy").read_bytes()).hexdigest()
    shard = ShardEntry(name="train-000000.tar", samples=1, bytes=10240, sha256="")
    entry = SplitEntry(samples=1, index_sha256=digest, shards=(shard,))
    assert len(read_index(tmp_path / "index.npy", entry, 1)) == 1


@pytest.mark.parametrize("part", [1, 2, SAMPLE - 1, SAMPLE, SAMPLE + 1, 1000])
@pytest.mark.parametrize("change", [overlapping, setting(height=0), lambda rows: None])
def test_rows_are_looked_at_alike_wherever_a_part_of_them_ends(digits100_root, monkeypatch, part, change):
    split = open_split(digits100_root, "train")
    rows = split.index.copy()
    change(rows)
    expected = strange_rows(rows, split.entry.shards, 100)
    monkeypatch.setattr(index_rows, "_PART", part)
    assert strange_rows(rows, split.entry.shards, 100) == expected
