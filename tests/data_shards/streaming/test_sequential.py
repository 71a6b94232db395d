"""Sequential access gives the samples, crops and pixels of random access, in its own order, resumed exactly."""

import random

import pytest
import torch

from data_shards.augmentation.config import Augmentation, RandomErasing
from data_shards.decoding import dali as dali_reader
from data_shards.errors import ShardUsageError
from data_shards.loading.batch_reader import training_batch
from data_shards.loading.loader import DataConfig, EvaluationLoader, TrainLoader
from data_shards.packing.pack import pack
from data_shards.randomness import Draws
from data_shards.sources.digits100 import Digits100
from data_shards.store.index import Split, open_split
from data_shards.streaming import dali as dali_stream
from data_shards.streaming import webdataset as webdataset_stream
from data_shards.streaming.sequential import SequentialReader

AUGMENTATION = Augmentation(crop="random_resized", flip=True, colour_jitter=(0.4, 0.4, 0.4, 0.1), mixup=0.2)
ALL_OF_IT = AUGMENTATION.model_copy(
    update={"auto_augment": "imagenet", "random_erasing": RandomErasing(probability=0.3, fill="colour")}
)
SEED, BATCH = 7, 24

original = Split.read
needs_dali = pytest.mark.skipif(not dali_reader.installed(), reason="needs NVIDIA DALI: pip install '.[dali]'")
READERS = ["python", pytest.param("dali", marks=needs_dali)]


@pytest.fixture(scope="session")
def many_shards_root(tmp_path_factory):
    """150 training and 60 test images of digits100, in shards of 13; not to be changed."""
    root = tmp_path_factory.mktemp("shards") / "many"
    assert pack(Digits100(train=150, test=60, seed=3), root, samples_per_shard=13)
    return root


def loader(
    root, reader="python", workers=0, rank=0, world=1, start=0, end=12, augmentation=AUGMENTATION, resolution=32, **keys
):
    """Two epochs of six steps."""
    keys = {"access": "sequential", "shuffle_block": 16} | keys
    config = DataConfig(shards=root, augmentation=augmentation, reader=reader, workers=workers, **keys)
    split = open_split(root, "train")
    return TrainLoader(split, config, resolution, BATCH, SEED, rank, world, start, end)


def same(ours, theirs):
    return len(ours) == len(theirs) and all(
        torch.equal(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)
    )


@pytest.fixture
def no_reading_at_places(monkeypatch):
    def refuse(split, sample):
        raise AssertionError(f"sample {sample} was read at its place")

    monkeypatch.setattr(Split, "read", refuse)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("reader", READERS)
def test_each_sample_is_shown_once_an_epoch_over_all_ranks(many_shards_root, reader, workers, world):
    ranks = [list(loader(many_shards_root, reader, workers, rank, world)) for rank in range(world)]
    assert [len(batches) for batches in ranks] == [12] * world
    for epoch in (0, 1):
        steps = range(6 * epoch, 6 * epoch + 6)
        seen = torch.cat([batches[step].ids for batches in ranks for step in steps]).tolist()
        assert len(seen) == 144
        assert len(set(seen)) == 144


@pytest.mark.parametrize("augmentation", [AUGMENTATION, ALL_OF_IT])
def test_python_shows_what_random_access_shows_of_a_sample(many_shards_root, no_reading_at_places, augmentation):
    loading = loader(many_shards_root, augmentation=augmentation)
    batches = list(loading)
    assert loading.reader == "python, workers 0, sequentially"
    split = open_split(many_shards_root, "train")
    split.read = lambda sample: original(split, sample)
    for step, batch in enumerate(batches):
        ids = loading.sampler.ids(step)
        expected = training_batch(split, augmentation, Draws(SEED, step // 6, ids), 32)
        assert batch.ids.tolist() == ids.tolist()
        assert same([batch], [expected])


@needs_dali
@pytest.mark.parametrize("augmentation", [AUGMENTATION, Augmentation(crop="padded", padding=4, flip=True)])
def test_dali_shows_what_random_access_shows_of_a_sample(many_shards_root, no_reading_at_places, augmentation):
    loading = loader(many_shards_root, "dali", workers=2, augmentation=augmentation)
    batches = list(loading)
    assert loading.reader.startswith("dali on ")
    split = open_split(many_shards_root, "train")
    split.read = lambda sample: original(split, sample)
    for step, batch in enumerate(batches):
        expected = training_batch(split, augmentation, Draws(SEED, step // 6, loading.sampler.ids(step)), 32)
        assert torch.equal(batch.ids, expected.ids)
        assert torch.equal(batch.labels, expected.labels)
        assert torch.equal(batch.draws, expected.draws)
        assert (batch.images.cpu().int() - expected.images.int()).abs().max() <= 1  # nothing is shrunk to 32 px


@needs_dali
def test_dali_and_python_with_one_worker_show_the_same_samples_in_the_same_order(many_shards_root):
    pythons, dalis = (list(loader(many_shards_root, reader, 1, 1, 2)) for reader in ("python", "dali"))
    assert [batch.ids.tolist() for batch in pythons] == [batch.ids.tolist() for batch in dalis]


@pytest.mark.parametrize(("world", "workers"), [(1, 0), (1, 2), (2, 0), (2, 1), (3, 2)])
@pytest.mark.parametrize("reader", READERS)
def test_a_restart_gives_the_rest_of_the_whole(many_shards_root, reader, world, workers):
    start = random.SystemRandom().randrange(1, 12)
    print(f"{world} ranks × {workers} workers, restarted at step {start}")
    sides = [24, 32, 40]
    for rank in range(world):
        whole, rest = (
            list(loader(many_shards_root, reader, workers, rank, world, each, resolution=lambda step: sides[step % 3]))
            for each in (0, start)
        )
        assert same(rest, whole[start:])


@pytest.mark.parametrize("block", [1, 24, 25, 1000])
def test_any_block_will_do(many_shards_root, no_reading_at_places, block):
    batches = list(loader(many_shards_root, shuffle_block=block))
    for epoch in (0, 1):
        assert len({sample for batch in batches[6 * epoch : 6 * epoch + 6] for sample in batch.ids.tolist()}) == 144
    assert same(list(loader(many_shards_root, shuffle_block=block, start=8)), batches[8:])


def opened(monkeypatch):
    """Where streams are opened from now on: (shard, sample)."""
    places = []
    init = SequentialReader.__init__

    def spy(self, split, open_stream, stops):
        def noting(split, shard, first):
            places.append((shard, first))
            return open_stream(split, shard, first)

        init(self, split, noting, stops)

    monkeypatch.setattr(SequentialReader, "__init__", spy)
    return places


@pytest.mark.parametrize("reader", READERS)
def test_each_shard_is_opened_once_an_epoch_and_read_to_its_end(many_shards_root, monkeypatch, reader):
    places = opened(monkeypatch)
    list(loader(many_shards_root, reader, end=6))
    assert sorted(places) == [(shard, 13 * shard) for shard in range(12)]


@pytest.mark.parametrize(
    "open_stream", [webdataset_stream.stream_shard, pytest.param(dali_stream.stream_shard, marks=needs_dali)]
)
def test_runs_follow_each_other_within_and_between_shards(
    many_shards_root, monkeypatch, no_reading_at_places, open_stream
):
    places = opened(monkeypatch)
    split = open_split(many_shards_root, "train")
    reader = SequentialReader(split, open_stream, stops=False)
    runs = [(5, 9), (9, 13), (13, 20), (20, 26), (39, 52), (41, 43), (143, 150), (0, 1)]
    for first, end in runs:
        images = dict(reader.read(first, end))
        assert images == {sample: original(split, sample) for sample in range(first, end)}
    assert places == [(0, 5), (1, 13), (3, 39), (3, 41), (11, 143), (0, 0)]


def test_no_two_workers_read_the_same(many_shards_root):
    loading = loader(many_shards_root, workers=3, end=6)
    read = [set(), set(), set()]  # by worker: DataLoader gives them the requests in turn
    for number, request in enumerate(loading._requests()):
        read[number % 3] |= {sample for block in request.blocks for first, end in block for sample in range(first, end)}
    assert sum(map(len, read)) == len(set().union(*read)) == 144


def test_a_restart_reads_again_from_the_block_of_its_step_on(many_shards_root, monkeypatch):
    places = opened(monkeypatch)
    loading = loader(many_shards_root, start=4, end=6)
    list(loading)
    position = 4 * 24 // 16 * 16  # of the block's first sample in the epoch's order
    first, _ = loading.sampler.blocks(4, 0)[0][0]
    assert places[0] == (first // 13, first)
    assert len(places) <= (150 - position) // 13 + 2


def test_workers_must_be_stated_as_the_order_follows_them(many_shards_root):
    with pytest.raises(ShardUsageError, match=r"data\.workers: must be a number with access: sequential"):
        loader(many_shards_root, workers="auto")


@needs_dali
def test_dali_has_one_stream_whatever_its_threads(many_shards_root):
    one, another = (list(loader(many_shards_root, "dali", workers)) for workers in ("auto", 3))
    assert same(one, another)


def test_evaluation_reads_at_random_places(many_shards_root, monkeypatch):
    places = opened(monkeypatch)
    config = DataConfig(shards=many_shards_root, workers=0, access="sequential")
    sequential = list(EvaluationLoader(open_split(many_shards_root, "test"), config, 32, 20, 0, 1))
    config = DataConfig(shards=many_shards_root, workers=0)
    assert same(sequential, list(EvaluationLoader(open_split(many_shards_root, "test"), config, 32, 20, 0, 1)))
    assert places == []


def test_a_loader_left_in_the_middle_can_be_iterated_again(many_shards_root):
    loading = loader(many_shards_root)
    batches = iter(loading)
    first = [next(batches) for _ in range(5)]
    batches.close()
    assert same([batch for batch, _ in zip(loading, range(5), strict=False)], first)


def test_samples_are_let_go_of_when_their_block_is_done(many_shards_root):
    loading = loader(many_shards_root)
    split = loading._reader.split
    for _ in loading:
        assert sum(len(future.result()) for future in split._blocks.values()) <= 24 + 3 * 16
