"""`stream_from`: training shards on a web server, or behind a command, and what may go wrong on the way."""

import gzip
import shutil
import tarfile
import time

import pytest
import torch
from pydantic import ValidationError

from data_shards.augmentation.config import Augmentation
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.loading.loader import DataConfig, EvaluationLoader, TrainLoader
from data_shards.open_data import open_data
from data_shards.store.index import Split, open_split
from data_shards.streaming import remote as remote_split
from data_shards.streaming import webdataset as webdataset_stream
from data_shards.streaming.remote import open_remote
from tests.data_shards.shard_server import shard_server

AUGMENTATION = Augmentation(crop="random_resized", flip=True)
SHARD, FIRST, END = "train-000001.tar", 40, 80  # and its samples


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(remote_split, "_WAITS", (0.0, 0.0, 0.0, 0.0))


@pytest.fixture
def server(digits100_root, tmp_path):
    with shard_server(shutil.copytree(digits100_root, tmp_path / "served")) as running:
        yield running


@pytest.fixture
def here(digits100_root, tmp_path):
    """The data set without its training shards."""
    root = shutil.copytree(digits100_root, tmp_path / "here")
    for shard in (root / "train").glob("*.tar"):
        shard.unlink()
    return root


def loader(root, stream_from, workers=0, start=0, end=12, **keys):
    if stream_from is not None:
        keys["stream_from"] = stream_from
    config = DataConfig(
        shards=root, augmentation=AUGMENTATION, workers=workers, access="sequential", shuffle_block=32, **keys
    )
    return TrainLoader(open_data(config).train, config, 32, 24, 7, 0, 1, start, end)


def same(ours, theirs):
    return len(ours) == len(theirs) and all(
        torch.equal(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)
    )


def steps_with(loading, samples):
    return [step for step in range(12) if set(loading.sampler.ids(step).tolist()) & set(samples)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_web_server_gives_what_the_folder_gives(digits100_root, here, server, ranges, workers):
    server.ranges = ranges
    whole = list(loader(digits100_root, None, workers))
    assert same(list(loader(here, server.url, workers)), whole)
    assert same(list(loader(here, server.url, workers, start=5)), whole[5:])


def test_each_shard_is_asked_for_once_an_epoch_and_a_resume_asks_for_a_part(here, server):
    list(loader(here, server.url, end=6))
    assert sorted(server.requests) == [(f"train-{shard:06d}.tar", 0) for shard in range(4)]
    server.requests.clear()
    list(loader(here, server.url, start=5, end=6))
    assert len(server.requests) <= 2
    assert server.requests[0][1] > 0, "from the middle of a shard on"
    server.requests.clear()
    server.ranges = False
    list(loader(here, server.url, start=5, end=6))
    assert len(server.requests) <= 2
    assert server.requests[0][1] == 0


def test_a_command_gives_what_the_folder_gives(digits100_root, here):
    whole = list(loader(digits100_root, None))
    command = f"pipe:cat {digits100_root}/{{}} | cat"
    assert same(list(loader(here, command)), whole)
    assert same(list(loader(here, command, start=5)), whole[5:])


def test_recalibration_images_come_from_there_too_and_test_images_from_here(digits100_root, here, server):
    config = DataConfig(shards=here, access="sequential", stream_from=server.url, workers=0)
    ids = [3, 41, 42, 149]
    data = open_data(config)
    local = DataConfig(shards=digits100_root, workers=0)
    for split, name in ((data.train, "train"), (data.test, "test")):
        expected = EvaluationLoader(
            open_split(digits100_root, name), local, 32, 4, 0, 1, ids=[each % 60 for each in ids]
        )
        assert same(list(EvaluationLoader(split, config, 32, 4, 0, 1, ids=[each % 60 for each in ids])), list(expected))
    assert {name for name, _ in server.requests} == {"train-000000.tar", "train-000001.tar"}


def test_test_shards_that_are_not_here_are_asked_for_in_one_line(here, server):
    (here / "test" / "test-000001.tar").unlink()
    with pytest.raises(
        ShardUsageError, match=r"test-000001\.tar: cannot be opened.*test split must be whole in"
    ) as caught:
        loader(here, server.url)
    assert "\n" not in str(caught.value)


def assert_named(loading, reason, samples=range(FIRST, END)):
    """The loader gives all before the first step that shows one of `samples`, and then says what is wrong."""
    batches = iter(loading)
    for _ in range(steps_with(loading, samples)[0]):
        next(batches)
    with pytest.raises(ShardDamage, match=reason) as caught:
        next(batches)
    assert "\n" not in str(caught.value)
    assert int(caught.value.key) in samples
    assert caught.value.offset == loading._reader.split.index["offset"][int(caught.value.key)]
    return caught.value


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_the_server_does_not_have_is_named(here, server, workers):
    (server.root / "train" / SHARD).unlink()
    damage = assert_named(loader(here, server.url, workers), "the server answers 404 Not Found")
    assert damage.shard == f"{server.url}train/{SHARD}"
    assert sum(name == SHARD for name, _ in server.requests) <= 4 * 2, "not once per sample"


def test_a_server_that_breaks_off_once_is_asked_again_and_nothing_is_lost(digits100_root, here, server):
    middle = int(open_split(digits100_root, "train").index["offset"][60]) + 9
    server.trouble = lambda name, number: -middle if name == SHARD and number == 0 else None
    loading = loader(here, server.url)
    assert same(list(loading), list(loader(digits100_root, None)))
    assert loading.skipped == []
    assert len([name for name, _ in server.requests if name == SHARD]) > 2


def test_a_server_that_is_busy_for_a_while_is_asked_again(digits100_root, here, server):
    server.trouble = lambda name, number: 503 if name == SHARD and number < 3 else None
    assert same(list(loader(here, server.url)), list(loader(digits100_root, None)))


@pytest.mark.parametrize("place", ["payload", "header", "boundary"])
def test_a_server_that_always_breaks_off_is_named_with_the_first_sample_that_is_missing(here, server, place):
    index = open_split(server.root, "train").index
    middle = int(index["offset"][60]) + {"payload": 9, "header": -100, "boundary": -512}[place]
    server.trouble = lambda name, number: -middle if name == SHARD else None
    server.ranges = False
    damage = assert_named(loader(here, server.url), f"the stream ends after {middle} bytes", range(60, END))
    assert damage.shard.endswith(SHARD)
    skipping = loader(here, server.url, on_corrupt="skip", max_corrupt=0.5)
    shown = {sample for batch in skipping for sample in batch.ids.tolist()}
    assert shown == set(range(150)) - set(range(60, END))
    assert {int(each.key) for each in skipping.skipped} == set(range(60, END))


def test_bytes_that_changed_on_the_server_are_named_and_skipped_alone(here, server):
    offset = int(open_split(server.root, "train").index["offset"][60])
    with open(server.root / "train" / SHARD, "r+b") as shard:
        shard.seek(offset + 20)
        shard.write(bytes(8))
    assert_named(loader(here, server.url), "not those that were packed", [60])
    skipping = loader(here, server.url, on_corrupt="skip")
    assert {sample for batch in skipping for sample in batch.ids.tolist()} == set(range(150)) - {60}
    assert {int(each.key) for each in skipping.skipped} == {60}


def test_another_shard_in_its_place_is_named(here, server):
    shutil.copy(server.root / "train" / "train-000002.tar", server.root / "train" / SHARD)
    server.ranges = False
    assert_named(loader(here, server.url), "is not in the shard, where sample 000000080 comes in its place")


def test_no_server_at_all_is_named(here, server):
    url = server.url.replace("127.0.0.1", "127.0.0.2")  # where nothing listens
    with pytest.raises(ShardDamage, match=r"the server cannot be reached: .*refused"):
        list(loader(here, url))


def test_a_server_that_is_gone_is_waited_for_once(here, server, monkeypatch):
    waits = []
    monkeypatch.setattr(remote_split, "_WAITS", (0.0, 1.0, 4.0))
    monkeypatch.setattr(remote_split.time, "sleep", waits.append)
    loading = loader(here, server.url.replace("127.0.0.1", "127.0.0.2"))
    with pytest.raises(ShardDamage, match="cannot be reached"):
        list(loading)
    assert sum(waits) == 5


def test_a_server_that_was_gone_is_waited_for_again(here, server, monkeypatch):
    waits = []
    monkeypatch.setattr(remote_split, "_WAITS", (0.0, 1.0))
    monkeypatch.setattr(remote_split.time, "sleep", waits.append)
    split = open_remote(here, "train", server.url)
    for times in (1, 2):
        server.trouble = lambda name, number: 503
        with pytest.raises(ShardDamage, match="the server answers 503"):
            split.read(3)
        assert sum(waits) == times
        server.trouble = lambda name, number: None
        split.read(3)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_command_that_fails_is_named_with_its_exit_status(here, digits100_root, workers):
    began = time.perf_counter()
    with pytest.raises(ShardDamage, match="the command ends with exit status 3") as caught:
        list(loader(here, f"pipe:head -c 20000 {digits100_root}/{{}}; exit 3", workers))
    assert "train/train-00000" in caught.value.shard
    assert time.perf_counter() - began < 60


def test_shards_are_not_looked_for_in_the_folder(here, server, monkeypatch):
    monkeypatch.setattr(Split, "read", None)
    assert len(list(loader(here, server.url, end=3))) == 3


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"access": "random", "stream_from": "https://bucket.example/shards/"}, "not random with python"),
        ({"reader": "dali", "stream_from": "https://bucket.example/shards/"}, "not sequential with dali"),
        ({"reader": "auto", "stream_from": "https://bucket.example/shards/"}, "not sequential with auto"),
        ({"stream_from": "https://bucket.example/shards"}, "with a / at the end"),
        ({"stream_from": "/mnt/shards/"}, "neither https"),
        ({"stream_from": "https://bucket.example/shärds/"}, "in ASCII"),
        ({"stream_from": "https://bucket.example/a b/"}, "in ASCII"),
        ({"stream_from": "https://bucket.example/shards/\n"}, "neither https"),
        ({"stream_from": "pipe:cat shards"}, "where the shard's name goes"),
        ({"stream_from": "pipe:cat \0{}"}, "where the shard's name goes"),
        ({"shuffle_block": 0}, "shuffle_block"),
        ({"access": "serial"}, "access"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, keys, message):
    with pytest.raises(ValidationError, match=message):
        DataConfig(shards=tmp_path, **({"access": "sequential"} | keys))


def test_a_shard_that_is_compressed_is_named_and_not_unpacked(here, server):
    path = server.root / "train" / SHARD
    path.write_bytes(gzip.compress(path.read_bytes()))
    server.ranges = False
    assert_named(loader(here, server.url), "it does not begin with a sample")


def test_no_more_is_taken_from_a_server_than_was_packed(here, server, monkeypatch):
    path = server.root / "train" / SHARD
    packed = path.stat().st_size
    first = int(open_split(server.root, "train").index["offset"][FIRST])
    content = bytearray(path.read_bytes()) + bytes(4 * packed)
    content[first - 512 : first] = header_of(3 * packed)
    path.write_bytes(content)
    server.ranges = False
    taken = {}
    counted = webdataset_stream._Counted.read

    def read(self, size, /):
        data = counted(self, size)
        taken[id(self)] = taken.get(id(self), 0) + len(data)
        return data

    monkeypatch.setattr(webdataset_stream._Counted, "read", read)
    assert_named(loader(here, server.url), f"the stream ends after {packed} bytes")
    assert max(taken.values()) <= packed


def header_of(size):
    member = tarfile.TarInfo(f"{FIRST:09d}.jpg")
    member.size = size
    return member.tobuf()
