"""Shards that are changed, replaced, lost or refused while a run reads them: what readers see, and how it is told."""

import errno
import os
import shutil

import pytest
import torch

from data_shards.errors import ShardDamage
from data_shards.loading.loader import DataConfig, EvaluationLoader, TrainLoader
from data_shards.packing.pack import pack
from data_shards.sources.digits100 import Digits100
from data_shards.store.index import open_split

SHARD = "train/train-000001.tar"  # samples 40 … 79
SAMPLES = range(40, 80)


@pytest.fixture(scope="module")
def other_root(tmp_path_factory):
    """A data set of the same form with other images: its shards have other bytes."""
    root = tmp_path_factory.mktemp("other") / "digits100"
    pack(Digits100(train=150, test=60, seed=4), root, samples_per_shard=40)
    return root


def outcomes(split):
    """For each sample of the shard, its bytes, or the reason why they cannot be read."""
    found = []
    for sample in SAMPLES:
        try:
            found.append(split.read(sample))
        except ShardDamage as damage:
            found.append(damage)
    return found


def opened(root):
    """A split whose shard is open and was read, and what was read."""
    split = open_split(root, "train")
    return split, outcomes(split)


def same_length(content, length):
    return (content + bytes(length))[:length]


def test_a_shard_written_over_in_place_is_named_sample_by_sample(breakable, other_root):
    split, _ = opened(breakable)
    path = breakable / SHARD
    with open(path, "r+b") as file:  # the same file, the same length, other bytes
        file.write(same_length((other_root / SHARD).read_bytes(), path.stat().st_size))
    for sample, found in zip(SAMPLES, outcomes(split), strict=True):
        assert isinstance(found, ShardDamage)
        assert (found.shard, found.key) == (str(path), f"{sample:09d}")
        assert found.offset == split.index[sample]["offset"]
        assert found.reason == "the image's bytes are not those that were packed (CRC-32 differs)"


def test_a_shard_grown_in_place_is_named_with_both_lengths(breakable, other_root):
    split, _ = opened(breakable)
    path = breakable / SHARD
    packed = path.stat().st_size
    with open(path, "r+b") as file:
        file.write((other_root / SHARD).read_bytes() + bytes(packed))
    found = outcomes(split)[7]
    assert found.reason.endswith(f"(CRC-32 differs); the shard has {path.stat().st_size} bytes, {packed} were packed")


def test_a_shard_cut_in_place_loses_what_lay_behind_and_nothing_else(breakable):
    split, whole = opened(breakable)
    cut = int(split.index[50]["offset"]) + 9
    os.truncate(breakable / SHARD, cut)
    found = outcomes(split)
    assert found[:10] == whole[:10]
    assert found[10].reason == f"the shard ends after 9 of the image's {split.index[50]['size']} bytes"
    assert all(
        f"ends after 0 of the image's {split.index[50 + n]['size']}" in found[10 + n].reason for n in range(1, 30)
    )


@pytest.mark.parametrize("length", ["the same length", "another length"])
def test_a_shard_replaced_by_renaming_is_met_by_those_who_open_it_later(breakable, other_root, tmp_path, length):
    split, whole = opened(breakable)
    path, content = breakable / SHARD, (other_root / SHARD).read_bytes()
    packed = path.stat().st_size
    (tmp_path / "new.tar").write_bytes(same_length(content, packed) if length == "the same length" else content * 2)
    reopened = open_split(breakable, "train")
    os.replace(tmp_path / "new.tar", path)
    assert outcomes(split) == whole, "the packed file is still open: its samples are right"
    found = outcomes(reopened)
    assert all(isinstance(each, ShardDamage) and each.shard == str(path) for each in found)
    assert ("bytes, " in found[0].reason) == (length == "another length")


def test_a_deleted_shard_is_met_by_those_who_open_it_later(breakable):
    split, whole = opened(breakable)
    reopened = open_split(breakable, "train")
    (breakable / SHARD).unlink()
    assert outcomes(split) == whole
    assert {found.reason for found in outcomes(reopened)} == {"cannot be read: No such file or directory"}


def test_a_shard_replaced_by_its_own_copy_goes_on(breakable, tmp_path):
    reopened = open_split(breakable, "train")
    whole = opened(breakable)[1]
    shutil.copy(breakable / SHARD, tmp_path / "copy.tar")
    os.replace(tmp_path / "copy.tar", breakable / SHARD)
    assert outcomes(reopened) == whole


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_in_mid_run_is_named(breakable, monkeypatch, number):
    split, whole = opened(breakable)
    read, bad = os.pread, int(split.index[47]["offset"])

    def pread(descriptor, size, offset):
        if offset == bad:
            raise OSError(number, os.strerror(number))
        return read(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    found = outcomes(split)
    assert (
        str(found[7]) == f"{breakable / SHARD}: sample 000000047 at byte {bad}: cannot be read: {os.strerror(number)}"
    )
    del found[7], whole[7]
    assert found == whole


def test_a_shard_that_may_not_be_opened_any_more_is_named(breakable, monkeypatch):
    split, open_file = open_split(breakable, "train"), os.open

    def refuse(path, *arguments):
        if str(path) == str(breakable / SHARD):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_file(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    assert {found.reason for found in outcomes(split)} == {"cannot be read: Permission denied"}
    assert split.read(0)


def test_an_index_overwritten_while_a_run_reads_changes_no_label(breakable, other_root):
    split = open_split(breakable, "train")
    labels = split.labels.copy()
    with open(breakable / "train" / "index.npy", "r+b") as file:
        file.write((other_root / "train" / "index.npy").read_bytes())
        file.truncate(600)  # this would end a process that has mapped the file
    assert (split.index["label"] == labels).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_readers_that_start_after_the_index_was_replaced_refuse_it(breakable, other_root, workers):
    # The other data set is whole and consistent: labels and images would fit each other, and change during the run.
    split = open_split(breakable, "train")
    loader = EvaluationLoader(split, DataConfig(shards=breakable, workers=workers), 32, 50, 0, 1)
    whole = list(loader)
    shutil.copytree(other_root / "train", breakable / "train", dirs_exist_ok=True)
    del split.__dict__["index"]  # as in a process that starts only now
    with pytest.raises(ShardDamage, match=r"index\.npy: is not the index that was packed with these shards"):
        list(loader)
    assert len(whole) == 3


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("on_corrupt", ["fail", "skip"])
def test_damage_to_the_index_is_never_skipped(breakable, workers, on_corrupt):
    config = DataConfig(shards=breakable, workers=workers, on_corrupt=on_corrupt, max_corrupt=0.9)
    loader = TrainLoader(open_split(breakable, "train"), config, 32, 30, 0, 0, 1, 0, 5)
    del loader._reader.split.__dict__["index"]
    (breakable / "train" / "index.npy").unlink()
    with pytest.raises(ShardDamage, match=r"index\.npy: cannot be read: No such file or directory$"):
        list(loader)
    assert loader.skipped == []


def test_a_shard_deleted_in_mid_run_stops_the_run_where_it_is_opened_anew(breakable):
    config = DataConfig(shards=breakable, workers=1, prefetch=1)
    split = open_split(breakable, "test")
    evaluation = EvaluationLoader(split, config, 32, 20, 0, 1)
    first = list(evaluation)
    (breakable / "test" / "test-000001.tar").unlink()
    with pytest.raises(ShardDamage, match=r"test-000001\.tar: sample 000000040 at byte \d+: cannot be read: No such"):
        list(evaluation)
    assert torch.cat([batch.ids for batch in first]).tolist() == list(range(60))
