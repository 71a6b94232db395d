"""The DALI reader: damage is named before DALI meets it; recipes that it cannot do are refused."""

import sys
import zlib

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from data_shards.augmentation.config import Augmentation
from data_shards.decoding import dali as dali_reader
from data_shards.decoding import encoded
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.loading.choice import choose_reader
from data_shards.loading.loader import DataConfig, EvaluationLoader, TrainLoader
from data_shards.store import index as index_module
from data_shards.store.image_format import encode_png, stored_size
from data_shards.store.index import open_split
from data_shards.store.manifest import INDEX_NAME

needs_dali = pytest.mark.skipif(not dali_reader.installed(), reason="needs NVIDIA DALI: pip install '.[dali]'")

SAMPLE = 47


def dali(root, end=12, **keys):
    split = open_split(root, "train")
    return TrainLoader(split, DataConfig(shards=root, reader="dali", workers=2, **keys), 32, 24, 7, 0, 1, 0, end)


def store(root, payload, height=None, width=None):
    """Puts other bytes in the place of a sample, with the index to fit, as if they had been packed."""
    path = root / "train" / INDEX_NAME
    index = np.load(path)
    row = index[SAMPLE]
    assert len(payload) <= row["size"]
    with open(root / "train" / "train-000001.tar", "r+b") as shard:
        shard.seek(int(row["offset"]))
        shard.write(payload)
    row["size"], row["crc32"] = len(payload), zlib.crc32(payload)
    row["height"], row["width"] = height or row["height"], width or row["width"]
    np.save(path, index)


@pytest.fixture
def unchecked_index(monkeypatch):
    """Lets a changed index pass, to see what the reader makes of it."""
    monkeypatch.setattr(index_module, "read_index", lambda path, entry, classes: np.load(path))


def jpeg_of(root, sample=SAMPLE):
    return open_split(root, "train").read(sample)


@needs_dali
def test_altered_bytes_are_named_after_the_batches_before_them(breakable):
    loader = dali(breakable)
    offset = int(open_split(breakable, "train").index[SAMPLE]["offset"])
    with open(breakable / "train" / "train-000001.tar", "r+b") as shard:
        shard.seek(offset + 20)
        shard.write(b"\0\0\0\0")
    steps = [step for step in range(12) if SAMPLE in loader.sampler.ids(step)]
    batches = iter(loader)
    for _ in range(steps[0]):
        next(batches)
    with pytest.raises(ShardDamage, match=r"train-000001\.tar: sample 000000047 at byte \d+: .*CRC-32") as caught:
        next(batches)
    assert (caught.value.key, caught.value.offset) == ("000000047", offset)


@needs_dali
def test_a_shard_cut_while_training_runs_is_named(breakable):
    loader = dali(breakable)
    row = open_split(breakable, "train").index[SAMPLE]
    with open(breakable / "train" / "train-000001.tar", "r+b") as shard:
        shard.truncate(int(row["offset"]) + 10)
    with pytest.raises(ShardDamage, match=r"train-000001\.tar: sample \d+ at byte \d+: the shard ends after"):
        list(loader)


@needs_dali
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda jpeg: b"\xff\xd8 then nothing", "not a whole JPEG"),
        (lambda jpeg: b"no image at all", "not a whole JPEG"),
        (lambda jpeg: b"", "not a whole JPEG"),
        (lambda jpeg: jpeg[: len(jpeg) // 2], "not a whole JPEG"),
        (lambda jpeg: jpeg[:-2], "not a whole JPEG: it has no end mark"),  # DALI says nothing to that
        (lambda jpeg: jpeg[: len(jpeg) - 200] + bytes(200), "not a whole JPEG"),
    ],
)
def test_what_is_no_whole_jpeg_is_named_before_dali_meets_it(breakable, unchecked_index, monkeypatch, damage, reason):
    store(breakable, damage(jpeg_of(breakable)))
    monkeypatch.setattr(dali_reader, "_naming_the_sample", lambda *_: pytest.fail("DALI met it"))
    with pytest.raises(ShardDamage, match=rf"train-000001\.tar: sample 000000047 at byte \d+: {reason}"):
        list(dali(breakable))


@pytest.mark.parametrize(
    "damage", [lambda png: png[:40], lambda png: png[:20], lambda png: png[:-16], lambda png: png[:12] + bytes(60)]
)
def test_what_is_no_whole_png_has_no_size(damage):
    png = encode_png(np.zeros((20, 30, 3), np.uint8))
    assert stored_size(png) == (20, 30)
    with pytest.raises(ValueError, match=r"no header|no end mark"):
        stored_size(damage(png))


@needs_dali
def test_an_image_of_another_size_than_the_index_says_is_named(breakable, unchecked_index):
    store(breakable, jpeg_of(breakable), height=33)
    with pytest.raises(ShardDamage, match=r"sample 000000047 at byte \d+: is 32 x 32 pixels; the index says 32 x 33"):
        list(dali(breakable))


@needs_dali
@pytest.mark.parametrize("batch", [1, 60])
def test_what_kills_dali_all_the_same_is_found_by_the_python_reader(breakable, unchecked_index, monkeypatch, batch):
    jpeg = jpeg_of(breakable)
    start = jpeg.index(b"\xff\xda")  # the header is whole, there is an end mark, and nothing in between
    store(breakable, jpeg[: start + 2] + b"\xff\xd9")
    config = DataConfig(shards=breakable, reader="dali")
    loader = EvaluationLoader(open_split(breakable, "train"), config, 32, batch, 0, 1, ids=range(30, 90))
    with pytest.raises(
        ShardDamage, match=r"train-000001\.tar: sample 000000047 at byte \d+: not a whole JPEG"
    ) as caught:
        list(loader)
    assert caught.value.key == "000000047"


@needs_dali
def test_what_only_dali_cannot_decode_is_narrowed_down_to_the_batches_under_way(digits100_root, monkeypatch):
    monkeypatch.setattr(encoded, "read_image", lambda *_: b"garbage")
    monkeypatch.setattr(dali_reader, "decode", lambda *_: None)
    config = DataConfig(shards=digits100_root, reader="dali")
    loader = EvaluationLoader(open_split(digits100_root, "test"), config, 32, 4, 0, 1, ids=[3, 8])
    with pytest.raises(ShardDamage, match="DALI cannot decode all of the samples 000000003, 000000008"):
        list(loader)


def test_a_missing_dali_is_an_error_that_names_the_extra(digits100_root, monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    monkeypatch.setattr(dali_reader.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ShardUsageError) as caught:
        dali(digits100_root)
    assert str(caught.value) == "data.reader: dali needs NVIDIA DALI: pip install 'delayed-epsilon-shrinking[dali]'"


def test_no_nvidia_package_at_all_is_no_dali(monkeypatch):
    def find_spec(name):
        raise ModuleNotFoundError("No module named 'nvidia'")

    monkeypatch.setattr(dali_reader.importlib.util, "find_spec", find_spec)
    assert not dali_reader.installed()


@pytest.mark.parametrize(
    ("installed", "gpu", "expected"),
    [(True, True, "dali"), (True, False, "python"), (False, True, "python"), (False, False, "python")],
)
def test_auto_is_dali_where_it_is_installed_and_there_is_a_gpu(digits100_root, monkeypatch, installed, gpu, expected):
    monkeypatch.setattr(dali_reader, "installed", lambda: installed)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    split = open_split(digits100_root, "train")
    assert choose_reader("auto", Augmentation(crop="padded"), split) == expected
    assert choose_reader("auto", Augmentation(crop="padded", padding=16), split) == "python"
    assert choose_reader("auto", Augmentation(auto_augment="imagenet"), split) == "python"
    assert choose_reader("python", Augmentation(), split) == "python"


def test_a_loader_says_what_reads(digits100_root):
    split = open_split(digits100_root, "train")
    config = DataConfig(shards=digits100_root, workers=0)
    assert TrainLoader(split, config, 32, 24, 7, 0, 1, 0, 1).reader == "python, workers 0"
    if dali_reader.installed() and not torch.cuda.is_available():
        assert dali(digits100_root).reader == "dali on cpu, threads 2"


@needs_dali
def test_auto_augment_is_refused_in_one_line(digits100_root):
    with pytest.raises(ShardUsageError) as caught:
        dali(digits100_root, augmentation=Augmentation(auto_augment="cifar10"))
    assert str(caught.value) == "data.reader: dali does not do augmentation.auto_augment: cifar10; use python"


@needs_dali
def test_padding_that_dali_cannot_reflect_is_refused_in_one_line(digits100_root):
    with pytest.raises(ShardUsageError) as caught:
        dali(digits100_root, augmentation=Augmentation(crop="padded", padding=16))
    assert str(caught.value) == (
        "data.reader: dali does not reflect as far as augmentation.padding 16 on images of 32 pixels "
        "(it must be less than half of that); use python"
    )
    assert len(list(dali(digits100_root, end=6, augmentation=Augmentation(crop="padded", padding=15)))) == 6


def test_a_wrong_reader_is_named_with_the_legal_ones():
    with pytest.raises(ValidationError, match=r"reader\n.*'python', 'dali' or 'auto'"):
        DataConfig(shards="data", reader="tar")
