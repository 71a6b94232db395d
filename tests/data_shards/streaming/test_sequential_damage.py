"""Damaged shards read sequentially: what is lost is named, and no more is lost than with random access."""

import os

import pytest
import torch

from data_shards.augmentation.config import Augmentation
from data_shards.decoding import dali as dali_reader
from data_shards.errors import ShardDamage
from data_shards.loading.loader import DataConfig, TrainLoader
from data_shards.loading.substitution import candidates
from data_shards.open_data import open_data
from data_shards.store.index import open_split

needs_dali = pytest.mark.skipif(not dali_reader.installed(), reason="needs NVIDIA DALI: pip install '.[dali]'")
pytestmark = pytest.mark.parametrize("reader", ["python", pytest.param("dali", marks=needs_dali)])

SHARD = "train/train-000001.tar"
SAMPLES = range(40, 80)
AUGMENTATION = Augmentation(crop="random_resized", flip=True)


def loader(root, reader, workers=0, **keys):
    keys = {"on_corrupt": "fail", "max_corrupt": 0.5, "shuffle_block": 32} | keys
    config = DataConfig(
        shards=root, augmentation=AUGMENTATION, reader=reader, workers=workers, access="sequential", **keys
    )
    return TrainLoader(open_split(root, "train"), config, 32, 24, 7, 0, 1, 0, 12)


def offset(root, sample):
    return int(open_split(root, "train").index["offset"][sample])


def shown(batches):
    return {sample for batch in batches for sample in batch.ids.tolist()}


def same(ours, theirs):
    return len(ours) == len(theirs) and all(
        torch.equal(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)
    )


def overwrite(root, place, content):
    with open(root / SHARD, "r+b") as shard:
        shard.seek(place)
        shard.write(content)


def damage_of(loading, lost):
    """The loader gives all before the first step that shows one of `lost`, and then the damage."""
    first = next(step for step in range(12) if set(loading.sampler.ids(step).tolist()) & set(lost))
    batches = iter(loading)
    for _ in range(first):
        next(batches)
    with pytest.raises(ShardDamage) as caught:
        next(batches)
    assert int(caught.value.key) in lost
    assert caught.value.offset == loading._reader.split.index["offset"][int(caught.value.key)]
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("workers", [0, 1])
def test_altered_bytes_are_named(breakable, reader, workers):
    overwrite(breakable, offset(breakable, 47) + 20, bytes(8))
    damage = damage_of(loader(breakable, reader, workers), {47})
    assert damage.shard == str(breakable / SHARD)
    assert "CRC-32 differs" in damage.reason


@pytest.mark.parametrize("place", ["payload", "header", "boundary"])
def test_a_cut_shard_loses_what_lay_behind_and_that_is_named(breakable, reader, place):
    loading = loader(breakable, reader)
    skipping = loader(breakable, reader, on_corrupt="skip")
    begin = offset(breakable, 60)
    os.truncate(breakable / SHARD, begin + {"payload": 9, "header": -100, "boundary": -512}[place])
    damage = damage_of(loading, set(range(60, 80)))
    assert "the shard ends after" in damage.reason
    assert shown(skipping) == set(range(150)) - set(range(60, 80))
    assert {int(each.key) for each in skipping.skipped} == set(range(60, 80))


@pytest.mark.parametrize("member", ["image", "label", "image twice"])
def test_a_broken_header_loses_nothing(breakable, digits100_root, reader, member):
    size = int(open_split(breakable, "train").index["size"][60])
    image = offset(breakable, 60) - 512
    header = image if member == "image" else image + 512 + (size + 511) // 512 * 512
    content = (breakable / SHARD).read_bytes()[image : image + 512] if member == "image twice" else b"\xff" * 512
    overwrite(breakable, header, content)
    loading = loader(breakable, reader, on_corrupt="skip")
    assert same(list(loading), list(loader(digits100_root, reader)))
    assert loading.skipped == []


def test_a_shard_that_is_gone_is_named(breakable, reader):
    loading = loader(breakable, reader)
    (breakable / SHARD).unlink()
    assert damage_of(loading, set(SAMPLES)).reason == "cannot be read: No such file or directory"


def test_a_shard_that_is_gone_is_named_before_training(breakable, reader):
    (breakable / SHARD).unlink()
    with pytest.raises(ShardDamage, match=r"train-000001\.tar: cannot be opened: No such file"):
        open_data(DataConfig(shards=breakable, reader=reader, access="sequential"))


def test_skipping_shows_the_samples_that_random_access_shows_in_the_same_place(breakable, reader):
    for sample in (47, 48, 120):
        row = open_split(breakable, "train").index[sample]
        with open(breakable / "train" / f"train-{row['shard']:06d}.tar", "r+b") as shard:
            shard.seek(int(row["offset"]) + 20)
            shard.write(bytes(8))
    loading = loader(breakable, reader, on_corrupt="skip")
    replaced = []
    for step, batch in enumerate(loading):
        for wanted, given in zip(loading.sampler.ids(step).tolist(), batch.ids.tolist(), strict=True):
            if wanted in (47, 48, 120):
                replaced.append(wanted)
                healthy = (each for each in candidates(7, step // 6, wanted, 150) if each not in (47, 48, 120))
                assert given == next(healthy)
            else:
                assert given == wanted
    assert set(replaced) == {47, 48, 120}
    assert {int(each.key) for each in loading.skipped} == {47, 48, 120}
