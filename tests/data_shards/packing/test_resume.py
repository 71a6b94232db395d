"""Packing that is killed or fails: what it leaves, and how the next attempt goes on from there."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from data_shards.errors import ShardDamage, ShardUsageError, UndecodableImages
from data_shards.packing.contents import kept_positions
from data_shards.packing.pack import pack
from data_shards.sources.folder import folder
from data_shards.sources.image_file import Preparation
from data_shards.store.index import open_split
from data_shards.store.manifest import read_manifest
from data_shards.store.verify import verify

KEEP = Preparation()
PER_CLASS = 60


@pytest.fixture
def src(tmp_path, photo_file, write_tree):
    """Two splits of 120 images in two classes."""
    return write_tree(
        tmp_path / "src",
        {
            f"{split}/{name}/{image}.jpg": photo_file(1000 * number + image)
            for number, (split, name) in enumerate((s, c) for s in ("train", "test") for c in "ab")
            for image in range(PER_CLASS)
        },
    )


@pytest.fixture
def uninterrupted(src, tmp_path, files_of):
    assert pack(folder(src, KEEP), tmp_path / "uninterrupted", samples_per_shard=10)
    return files_of(tmp_path / "uninterrupted")


def counting(source):
    """Makes a source count the images that it is asked for, by position in a split."""
    asked = []
    samples = source.samples

    def count(split, positions):
        asked.extend((split, position) for position in positions.tolist())
        return samples(split, positions)

    source.samples = count
    return asked


# Packs with two threads and stops for ever, when it has said so, before image STOP.
PROGRAM = textwrap.dedent("""
    import sys, threading
    from pathlib import Path
    from data_shards.packing.pack import pack
    from data_shards.sources.folder import folder
    from data_shards.sources.image_file import Preparation
    src, out, stop = sys.argv[1:]
    source, given, lock = folder(Path(src), Preparation()), [0], threading.Lock()
    samples = source.samples
    def stopping(split, positions):
        for sample in samples(split, positions):
            with lock:
                given[0] += 1
                if given[0] == int(stop):
                    print("stopped", flush=True)
                    threading.Event().wait()
            yield sample
    source.samples = stopping
    pack(source, out, samples_per_shard=10, threads=2)
""")


def killed_at(stop, src, out):
    command = [sys.executable, "-c", PROGRAM, str(src), str(out), str(stop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout.readline() == b"stopped\n"
        with pytest.raises(ShardUsageError, match="another process is packing into"):
            pack(folder(src, KEEP), out, samples_per_shard=10)
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("stop", [1, 37, 125, 240])
def test_after_a_kill_the_result_is_that_of_an_uninterrupted_packing(stop, src, tmp_path, uninterrupted, files_of):
    out = tmp_path / "out"
    killed_at(stop, src, out)
    assert os.listdir(out) == [".packing"]
    finished = list((tmp_path / "out" / ".packing" / "records").glob("*.json"))
    assert stop // 10 - 3 <= len(finished) <= stop // 10, "two shards were begun, and one may have been about to end"
    source = folder(src, KEEP)
    asked = counting(source)
    assert pack(source, out, samples_per_shard=10)
    assert len(asked) == 240 - 10 * len(finished), "finished shards are not done again"
    assert files_of(out) == uninterrupted
    assert not (tmp_path / "out" / ".packing").exists()


def test_killed_again_and_again_it_comes_to_its_end(src, tmp_path, uninterrupted, files_of):
    for _ in range(3):
        killed_at(60, src, tmp_path / "out")
    source = folder(src, KEEP)
    asked = counting(source)
    assert pack(source, tmp_path / "out", samples_per_shard=10)
    assert len(asked) <= 240 - 3 * 40
    assert files_of(tmp_path / "out") == uninterrupted


def test_a_kill_after_the_shards_got_their_name_leaves_them_whole(src, tmp_path, uninterrupted, files_of):
    killed_at(30, src, tmp_path / "out")
    shutil.copytree(tmp_path / "uninterrupted", tmp_path / "out", dirs_exist_ok=True)
    assert pack(folder(src, KEEP), tmp_path / "out", samples_per_shard=10) is False
    assert files_of(tmp_path / "out") == uninterrupted
    assert not (tmp_path / "out" / ".packing").exists(), "what is left over is cleared away"


@pytest.mark.parametrize("damage", ["cut", "flip", "swap", "rows", "record"])
def test_a_finished_shard_that_is_not_whole_any_more_is_done_again(damage, src, tmp_path, uninterrupted, files_of):
    killed_at(200, src, tmp_path / "out")
    shards = sorted((tmp_path / "out" / ".packing" / "shards").rglob("*.tar"))
    name, file = shards[3].stem, bytearray(shards[3].read_bytes())
    records = tmp_path / "out" / ".packing" / "records"
    if damage == "cut":
        shards[3].write_bytes(file[: len(file) // 2])
    elif damage == "flip":
        file[1000] ^= 1
        shards[3].write_bytes(file)
    elif damage == "swap":
        shards[4].replace(shards[3])
    elif damage == "rows":
        (records / f"{name}.npy").write_bytes(b"")
    else:
        (records / f"{name}.json").write_text('{"fingerprint": "')
    assert pack(folder(src, KEEP), tmp_path / "out", samples_per_shard=10)
    assert files_of(tmp_path / "out") == uninterrupted


@pytest.mark.parametrize("same_size", [False, True])
def test_a_file_changed_after_the_kill_is_packed_as_it_is_now(same_size, src, tmp_path, photo_file):
    path = src / "train" / "a" / "7.jpg"
    path.write_bytes(path.read_bytes() + bytes(1000))  # room for another image of this size
    killed_at(200, src, tmp_path / "out")
    other = photo_file(5555)
    other += bytes(path.stat().st_size - len(other) if same_size else 0)
    path.write_bytes(other)
    source = folder(src, KEEP)
    asked = counting(source)
    assert pack(source, tmp_path / "out", samples_per_shard=10)
    assert len(asked) < 240 - 150, "the other shards are kept"
    assert pack(folder(src, KEEP), tmp_path / "whole", samples_per_shard=10)
    train = open_split(tmp_path / "out", "train")
    assert other in [train.read(sample) for sample in range(120)]
    assert verify(tmp_path / "out") == []


def test_what_another_packing_left_is_cleared_away(src, tmp_path, uninterrupted, files_of):
    killed_at(200, src, tmp_path / "out")
    other = tmp_path / "out" / ".packing" / "shards" / "val"
    other.mkdir()
    (other / "val-000000.tar").write_bytes(b"")
    (tmp_path / "out" / ".packing" / "train").mkdir()  # as earlier versions left it
    assert pack(folder(src, KEEP), tmp_path / "out", samples_per_shard=30)
    assert pack(folder(src, KEEP), tmp_path / "fresh", samples_per_shard=30)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh")


def test_a_full_disk_is_told_in_one_line_and_the_next_attempt_goes_on(src, tmp_path, uninterrupted, files_of):
    # A limit on the size of files stands for the disk's end: writing fails in the middle of a shard.
    large = src / "train" / "a" / "20.jpg"
    kept = large.read_bytes()
    large.write_bytes(kept + b"\0" * 200_000)
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    program = f"import resource; {limit}; import deps_command; deps_command.main()"
    command = [sys.executable, "-c", program, "shards", "pack", "folder", src, tmp_path / "out"]
    done = subprocess.run(
        [*map(str, command), "--samples-per-shard", "10", "--threads", "1"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    why = "cannot be written: File too large; the finished shards are kept: run it again to go on"
    assert re.search(rf"train-000005\.tar: sample \d{{9}} at byte \d+ {why}$", line)
    assert os.listdir(tmp_path / "out") == [".packing"]
    assert not list(tmp_path.rglob("*.part"))
    large.write_bytes(kept)
    assert pack(folder(src, KEEP), tmp_path / "out", samples_per_shard=10)
    assert files_of(tmp_path / "out")["train/train-000005.tar"] == uninterrupted["train/train-000005.tar"]


def break_files(src, *names):
    for name in names:
        (src / name).write_bytes((src / name).read_bytes()[:-50])


BROKEN = ("train/a/3.jpg", "train/b/50.jpg", "test/a/0.jpg")


def test_undecodable_images_are_all_named_and_nothing_is_published(src, tmp_path):
    break_files(src, *BROKEN)
    with pytest.raises(UndecodableImages, match=r"3 images cannot be decoded .*--on-corrupt skip") as raised:
        pack(folder(src, KEEP), tmp_path / "out", samples_per_shard=10)
    assert "\n" not in str(raised.value)
    assert [line.split(": ")[0] for line in raised.value.images] == sorted(str(src / name) for name in BROKEN)
    assert all("Premature end" in line for line in raised.value.images)
    assert os.listdir(tmp_path / "out") == [".packing"]
    records = {path.stem for path in (tmp_path / "out" / ".packing" / "records").glob("t*.json")}
    assert {path.stem for path in (tmp_path / "out" / ".packing" / "shards").rglob("*.tar")} == records
    assert 24 - 3 <= len(records) < 24, "shards without some of their images are no shards"


def test_a_mended_file_is_all_that_is_packed_anew(src, tmp_path, uninterrupted, files_of):
    whole = {name: (src / name).read_bytes() for name in BROKEN}
    break_files(src, *BROKEN)
    with pytest.raises(UndecodableImages):
        pack(folder(src, KEEP), tmp_path / "out", samples_per_shard=10)
    for name, file in whole.items():
        (src / name).write_bytes(file)
    source = folder(src, KEEP)
    asked = counting(source)
    assert pack(source, tmp_path / "out", samples_per_shard=10)
    assert len(asked) <= 30
    assert files_of(tmp_path / "out") == uninterrupted


def test_undecodable_images_are_left_out_on_request_and_listed(src, tmp_path, files_of):
    break_files(src, *BROKEN)
    out = tmp_path / "out"
    assert pack(folder(src, KEEP), out, samples_per_shard=10, on_corrupt="skip")
    assert verify(out) == []
    manifest = read_manifest(out)
    assert {image.name: image.split for image in manifest.notes.left_out} == {
        str(src / name): name.split("/")[0] for name in BROKEN
    }
    for split, samples in (("train", 118), ("test", 119)):
        ours = open_split(out, split)
        assert len(ours) == samples
        whole = sorted(
            (path.parent.name, path.read_bytes())
            for path in (src / split).rglob("*.jpg")
            if str(path.relative_to(src)) not in BROKEN
        )
        assert sorted((ours.classes[label], ours.read(sample)) for sample, label in enumerate(ours.labels)) == whole
    assert pack(folder(src, KEEP), out, samples_per_shard=10, on_corrupt="skip") is False
    with pytest.raises(ShardUsageError, match="with 3 undecodable images left out"):
        pack(folder(src, KEEP), out, samples_per_shard=10)
    # Whether refused first, or with one thread: the same bytes.
    with pytest.raises(UndecodableImages):
        pack(folder(src, KEEP), tmp_path / "other", samples_per_shard=10)
    source = folder(src, KEEP)
    asked = counting(source)
    assert pack(source, tmp_path / "other", samples_per_shard=10, threads=1, on_corrupt="skip")
    assert len(asked) <= 3 + 5 * 10, "only the shards with holes, and those that fill them"
    assert files_of(tmp_path / "other") == files_of(out)


def test_a_source_that_is_damaged_as_a_whole_is_not_packed_without_its_images(src, tmp_path):
    break_files(src, *(f"train/a/{image}.jpg" for image in range(11)))
    with pytest.raises(ShardDamage, match=r"11 of 120 images cannot be decoded .* at most 10 may be left out"):
        pack(folder(src, KEEP), tmp_path / "out", samples_per_shard=10, on_corrupt="skip")
    assert os.listdir(tmp_path / "out") == [".packing"]


def test_no_class_is_left_without_images(tmp_path, photo_file, write_tree):
    files = {
        f"{split}/{name}/{image}.jpg": photo_file(image)
        for split in ("train", "test")
        for name in "ab"
        for image in range(3)
    }
    src = write_tree(tmp_path / "src", files)
    break_files(src, *(f"train/b/{image}.jpg" for image in range(3)))
    with pytest.raises(ShardDamage, match="no image of class 'b' can be decoded; nothing is published"):
        pack(folder(src, KEEP), tmp_path / "out", on_corrupt="skip")
    assert os.listdir(tmp_path / "out") == [".packing"]


@pytest.mark.parametrize("left_out", [(), (0,), (9,), (0, 9), (3, 8, 9), (7, 8, 9), tuple(range(9))])
def test_samples_from_the_end_take_the_places_of_those_left_out(left_out):
    positions = kept_positions(10, left_out)
    assert sorted(positions) == sorted(set(range(10)) - set(left_out))
    kept = [position for position in range(10 - len(left_out)) if position not in left_out]
    assert (positions[kept] == kept).all()


def test_records_are_no_part_of_what_is_published(src, tmp_path, uninterrupted):
    assert sorted(name for name in uninterrupted if not name.endswith(".tar")) == [
        "manifest.json",
        "test/index.npy",
        "train/index.npy",
    ]
    assert "notes" not in json.loads(uninterrupted["manifest.json"])
    assert np.load(tmp_path / "uninterrupted" / "train" / "index.npy").shape == (120,)
