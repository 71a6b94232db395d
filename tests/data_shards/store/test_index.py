"""The index: samples are read at their places, and damage to an index is named."""

import hashlib
import json
import os
import pickle
import shutil

import numpy as np
import pytest

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.store.index import INDEX_DTYPE, open_split
from data_shards.store.manifest import FORMAT, Manifest, ShardEntry, SplitEntry


def test_a_split_knows_its_samples(digits_root):
    split = open_split(digits_root, "test")
    assert len(split) == 359
    assert split.num_classes == 10
    assert split.classes[3] == "3"
    assert split.labels.dtype == np.int64
    assert split.key(12) == "000000012"
    assert split.read(12).startswith(b"\xff\xd8")


def test_a_split_travels_light_to_other_processes(digits_root):
    split = open_split(digits_root, "train")
    payload = split.read(5)
    message = pickle.dumps(split)
    assert len(message) < 4000, "neither the index nor open files go along"
    assert pickle.loads(message).read(5) == payload


def test_a_missing_folder_says_which_command_packs_it(tmp_path):
    with pytest.raises(ShardUsageError, match=r"no shards at .*/nowhere: .*deps shards pack"):
        open_split(tmp_path / "nowhere", "train")


def test_an_unknown_split_is_named_with_those_there_are(digits_root):
    with pytest.raises(ShardUsageError, match="no split 'val'; it has train, test"):
        open_split(digits_root, "val")


def cut(path, size):
    with open(path, "r+b") as file:
        file.truncate(size)


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0xFF]))


def swap(path, old, new):
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "file", "reason"),
    [
        (lambda path: path.unlink(), "train-000002.tar", "No such file"),
        (lambda path: cut(path, 5000), "train-000001.tar", "has 5000 bytes; .* were packed"),
        (lambda path: path.unlink(), "index.npy", "No such file"),
        (lambda path: cut(path, 1000), "index.npy", "not a whole index"),
        (lambda path: cut(path, 0), "index.npy", "not a whole index"),
        (lambda path: flip(path, 2000), "index.npy", "not the index that was packed"),
        (lambda path: np.save(path, np.load(path)[:-5]), "index.npy", "lists 145 samples; .* with 150"),
        (lambda path: np.save(path, np.zeros(150)), "index.npy", "is not an index: no list of samples"),
        (lambda path: cut(path, 300), "../manifest.json", "not a valid manifest"),
        (lambda path: path.write_text("{}"), "../manifest.json", "not a valid manifest: format"),
        (lambda path: swap(path, '"00",', '"01",'), "../manifest.json", "not the manifest that was packed"),
        (lambda path: swap(path, ": 150", ": 15"), "../manifest.json", "not the manifest that was packed"),
        (lambda path: swap(path, '"format": 2', '"format": 1'), "../manifest.json", "not the manifest that was packed"),
    ],
)
def test_files_that_do_not_fit_the_manifest_are_refused_at_once(breakable, damage, file, reason):
    damage(breakable / "train" / file)
    with pytest.raises(ShardDamage, match=reason) as caught:
        open_split(breakable, "train")
    assert os.path.basename(file) in caught.value.shard


def test_a_later_format_is_refused(breakable):
    path = breakable / "manifest.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 3').replace('"dataset"', '"name"'))
    with pytest.raises(ShardUsageError, match=r"manifest\.json: format 3 is not format 2, .* the version that packed"):
        open_split(breakable, "train")


def test_the_format_without_a_checksum_is_refused_with_the_remedy(breakable):
    path = breakable / "manifest.json"
    manifest = json.loads(path.read_text()) | {"format": 1}
    del manifest["checksum"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ShardUsageError, match=r"format 1 is not format 2, .*; delete .*digits100 and pack it again"):
        open_split(breakable, "train")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path, offset: flip(path, offset + 10), r"CRC-32 differs"),
        (lambda path, offset: cut(path, offset + 10), "ends after 10 of the image's"),
        (lambda path, offset: cut(path, 0), "ends after 0 of"),
        (lambda path, offset: path.unlink(), "cannot be read: No such file"),
        (lambda path, offset: (path.unlink(), path.mkdir()), "cannot be read: is not a regular file"),
        (lambda path, offset: shutil.copy(path.with_name("train-000002.tar"), path), "CRC-32 differs"),
    ],
)
def test_damage_after_opening_is_found_when_reading(breakable, damage, reason):
    split = open_split(breakable, "train")
    offset = int(split.index[41]["offset"])
    damage(breakable / "train" / "train-000001.tar", offset)
    with pytest.raises(ShardDamage, match=reason) as caught:
        split.read(41)
    assert (caught.value.key, caught.value.offset) == ("000000041", offset)
    assert caught.value.shard == str(breakable / "train" / "train-000001.tar")
    assert "\n" not in str(caught.value)
    split.read(0)


def test_damage_survives_the_way_between_processes():
    damage = ShardDamage("a.tar", "torn", key="000000001", offset=512)
    copy = pickle.loads(pickle.dumps(damage))
    assert str(copy) == str(damage) == "a.tar: sample 000000001 at byte 512: torn"
    assert (copy.shard, copy.key, copy.offset, copy.reason) == ("a.tar", "000000001", 512, "torn")


def test_a_split_as_large_as_imagenet_is_small_to_hand_to_workers(tmp_path):
    samples, folder = 1_281_167, tmp_path / "train"
    folder.mkdir()
    index, sample = np.ones(samples, INDEX_DTYPE), np.arange(samples)
    index["shard"], index["offset"], index["label"] = sample // 5000, sample % 5000 * 2048 + 512, 0
    np.save(folder / "index.npy", index)
    digest = hashlib.sha256((folder / "index.npy").read_bytes()).hexdigest()
    shards = []
    for number, held in enumerate(np.bincount(index["shard"]).tolist()):
        shards.append(ShardEntry(name=f"train-{number:06d}.tar", samples=held, bytes=held * 2048 + 1024, sha256=""))
        (folder / shards[-1].name).touch()
        os.truncate(folder / shards[-1].name, shards[-1].bytes)
    entry = SplitEntry(samples=samples, index_sha256=digest, shards=tuple(shards))
    Manifest(
        format=FORMAT, dataset="large", classes=("a",), options={}, samples_per_shard=5000, splits={"train": entry}
    ).write(tmp_path)
    split = open_split(tmp_path, "train")
    assert len(split) == samples
    assert len(pickle.dumps(split)) < 30_000
