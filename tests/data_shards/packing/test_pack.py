"""Packing: the shards are WebDataset tars, the index fits them, and the same source gives the same bytes."""

import builtins
import errno
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import textwrap
import zlib

import numpy as np
import pytest
import webdataset

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.packing.pack import pack
from data_shards.sources.digits import Digits
from data_shards.sources.digits100 import Digits100
from data_shards.store.index import open_split
from data_shards.store.manifest import read_manifest


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_webdataset_library_reads_the_same_samples(digits_root):
    split = open_split(digits_root, "train")
    tars = [str(path) for path in sorted(split.folder.glob("*.tar"))]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    assert len(samples) == len(split) == 1438
    for sample, theirs in enumerate(samples):
        assert theirs["__key__"] == split.key(sample)
        assert theirs["jpg"] == split.read(sample)
        assert int(theirs["cls"]) == split.labels[sample]


def test_the_index_says_where_each_image_lies(digits_root):
    split = open_split(digits_root, "test")
    for number, shard in enumerate(split.entry.shards):
        with tarfile.open(split.folder / shard.name) as tar:
            for member in tar:
                if member.name.endswith(".jpg"):
                    row = split.index[int(member.name.removesuffix(".jpg"))]
                    payload = tar.extractfile(member).read()
                    assert (row["shard"], row["offset"], row["size"]) == (number, member.offset_data, member.size)
                    assert (row["crc32"], row["height"], row["width"]) == (zlib.crc32(payload), 32, 32)
                assert (member.mtime, member.uid, member.gid, member.uname) == (0, 0, 0, "")


def test_shards_hold_no_more_samples_than_asked_for(digits_root):
    shards = read_manifest(digits_root).splits["train"].shards
    assert [shard.samples for shard in shards] == [200] * 7 + [38]


def test_packing_again_changes_nothing(digits_root):
    before = {path: path.stat().st_mtime_ns for path in digits_root.rglob("*")}
    assert pack(Digits(), digits_root, samples_per_shard=200) is False
    assert {path: path.stat().st_mtime_ns for path in digits_root.rglob("*")} == before


def test_other_data_is_never_overwritten(digits_root, tmp_path):
    before = contents(digits_root)
    with pytest.raises(ShardUsageError, match=r"already holds digits \(samples-per-shard 200\), not .*per-shard 100\)"):
        pack(Digits(), digits_root, samples_per_shard=100)
    with pytest.raises(ShardUsageError, match="already holds digits"):
        pack(Digits100(train=5, test=5), digits_root, samples_per_shard=200)
    assert contents(digits_root) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ShardUsageError, match="is not empty"):
        pack(Digits(), tmp_path)
    with pytest.raises(ShardUsageError, match="is a file"):
        pack(Digits(), tmp_path / "notes.txt")
    assert list(tmp_path.iterdir()) == [tmp_path / "notes.txt"]


def test_a_damaged_pack_is_not_taken_for_the_one_wanted(breakable):
    (breakable / "train" / "train-000001.tar").unlink()
    with pytest.raises(ShardDamage, match=r"train-000001\.tar.*delete .* and pack it again"):
        pack(Digits100(train=150, test=60, seed=3), breakable, samples_per_shard=40)


def test_the_bytes_follow_from_the_options_alone(tmp_path, digits100_root):
    source = Digits100(train=150, test=60, seed=3)
    (tmp_path / "empty").mkdir()
    assert pack(source, tmp_path / "empty", samples_per_shard=40, threads=1)
    assert contents(tmp_path / "empty") == contents(digits100_root)
    assert pack(Digits100(train=150, test=60, seed=4), tmp_path / "other", samples_per_shard=40)
    assert contents(tmp_path / "other")["train/train-000000.tar"] != contents(digits100_root)["train/train-000000.tar"]


def test_the_shards_cut_does_not_change_the_samples(tmp_path, digits100_root):
    assert pack(Digits100(train=150, test=60, seed=3), tmp_path / "one", samples_per_shard=7)
    ours, theirs = open_split(tmp_path / "one", "train"), open_split(digits100_root, "train")
    assert [ours.read(sample) for sample in range(150)] == [theirs.read(sample) for sample in range(150)]


class Interrupted(Digits):
    def samples(self, split, positions):
        yield from super().samples(split, positions[positions < 1000])
        if positions[-1] >= 1000:
            raise OSError(28, "No space left on device")


def test_a_pack_that_fails_leaves_nothing_that_looks_whole(tmp_path):
    with pytest.raises(ShardDamage, match="No space left"):
        pack(Interrupted(), tmp_path / "out", samples_per_shard=300)
    assert os.listdir(tmp_path / "out") == [".packing"]
    assert pack(Digits(), tmp_path / "out", samples_per_shard=300), "the left-over is cleared away"
    assert sorted(os.listdir(tmp_path / "out")) == ["manifest.json", "test", "train"]


def test_a_pack_that_is_killed_leaves_nothing_that_looks_whole(tmp_path):
    program = textwrap.dedent("""
        import sys, time
        from data_shards.packing.pack import pack
        from data_shards.sources.digits import Digits
        class Slow(Digits):
            def samples(self, split, positions):
                yield from super().samples(split, positions)
                if split == "test":
                    print("packing", flush=True)
                    time.sleep(60)
        pack(Slow(), sys.argv[1], samples_per_shard=500)
    """)
    command = [sys.executable, "-c", program, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b"packing\n"
        with pytest.raises(ShardUsageError, match="another process is packing"):
            pack(Digits(), tmp_path / "out", samples_per_shard=500)
        os.kill(process.pid, signal.SIGKILL)
    assert os.listdir(tmp_path / "out") == [".packing"]
    with pytest.raises(ShardUsageError, match="no shards at"):
        open_split(tmp_path / "out", "train")
    assert pack(Digits(), tmp_path / "out", samples_per_shard=500)
    assert sorted(os.listdir(tmp_path / "out")) == ["manifest.json", "test", "train"]


@pytest.mark.parametrize("limit", [30_000, 105_000, 3_000])
def test_a_disk_that_fills_up_while_packing_is_one_line_that_names_the_place(tmp_path, limit):
    """A limit on file sizes stands for the full disk: the system refuses a write in the middle, with its own word."""
    program = textwrap.dedent("""
        import resource, sys
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
        import deps_command
        sys.argv = ["deps", "shards", "pack", "digits100", sys.argv[2], "--train", "150", "--test", "20"]
        deps_command.main()
    """)
    out = tmp_path / "out"
    command = [sys.executable, "-c", program, str(limit), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 1, done.stderr
    place = rf"deps: {out}/\.packing/shards/(train|test)/(train|test)-000000\.tar: (sample \d{{9}}|end) at byte \d+"
    kept = "the finished shards are kept: run it again to go on"
    assert re.fullmatch(rf"{place} cannot be written: File too large; {kept}\n", done.stderr)
    assert os.listdir(out) == [".packing"]


class Full:
    """A file on a disk without space left: takes `room` bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.file.close()

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def close(self):
        self.file.close()
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("module", "name", "room"),
    [
        ("packing.writer", "train-000001.tar.part", 9_000),
        ("store.durable_file", "index.npy", 0),
        ("store.durable_file", "manifest.json", 0),
    ],
)
def test_whichever_file_the_disk_has_no_space_for_is_named(tmp_path, monkeypatch, module, name, room):
    def open_on_full_disk(path, mode):
        file = builtins.open(path, mode)  # noqa: SIM115 (as its caller asked)
        return Full(file, room) if path.name == name else file

    monkeypatch.setattr(f"data_shards.{module}.open", open_on_full_disk, raising=False)
    source = Digits100(train=60, test=6)
    file = name.removesuffix(".part")
    place = r": sample 0000000\d\d at byte \d+" if file.endswith(".tar") else ":"
    told = rf"^{tmp_path}/out/\.packing/shards/.*{file}{place} cannot be written: No space left on device; the finished"
    with pytest.raises(ShardDamage, match=told):
        pack(source, tmp_path / "out", samples_per_shard=20, threads=1)
    assert os.listdir(tmp_path / "out") == [".packing"]
    monkeypatch.undo()
    assert pack(source, tmp_path / "out")


class Mislabelled(Digits):
    @property
    def classes(self):
        return super().classes[:9]


def test_a_label_without_a_class_is_not_packed(tmp_path):
    with pytest.raises(
        ShardUsageError, match=r"digits: sample \d+ of train has the label 9, which is not one of 0 … 8"
    ):
        pack(Mislabelled(), tmp_path / "out", threads=1)
    assert os.listdir(tmp_path / "out") == [".packing"]


def test_the_manifest_states_what_was_packed(digits100_root):
    manifest = json.loads((digits100_root / "manifest.json").read_text())
    assert manifest["dataset"] == "digits100"
    assert manifest["options"] == {"train": 150, "test": 60, "seed": 3}
    assert manifest["classes"][:2] == ["00", "01"]
    assert {name: split["samples"] for name, split in manifest["splits"].items()} == {"train": 150, "test": 60}
    assert np.load(digits100_root / "train" / "index.npy").shape == (150,)
