"""Loaders: any number of workers and ranks gives the same batches, from any step on."""

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from data_shards.augmentation.config import Augmentation, RandomErasing
from data_shards.augmentation.crops import Crops
from data_shards.augmentation.draws import MATRIX
from data_shards.augmentation.on_device import augment_on_device
from data_shards.decoding.python import read_batch
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.loading.loader import DataConfig, EvaluationLoader, TrainLoader
from data_shards.store.index import open_split

AUGMENTATION = Augmentation(crop="random_resized", scale=(0.5, 1.0), flip=True)
ALL_OF_IT = Augmentation(
    crop="random_resized",
    flip=True,
    auto_augment="imagenet",
    colour_jitter=(0.4, 0.4, 0.4, 0.1),
    random_erasing=RandomErasing(probability=0.3, fill="colour"),
    mixup=0.5,
    cutmix=0.5,
)


def config(root, workers=0, augmentation=AUGMENTATION, **keys):
    return DataConfig(shards=root, augmentation=augmentation, workers=workers, **keys)


def train(
    root, workers=0, resolution=32, batch=24, seed=7, rank=0, world=1, start=0, end=10, augmentation=AUGMENTATION
):
    split = open_split(root, "train")
    data = config(root, workers, augmentation)
    return TrainLoader(split, data, resolution, batch, seed, rank, world, start, end)


def as_trained(loader, augmentation=ALL_OF_IT):
    """What the network sees of each batch: float images and labels [B, 100]."""
    return [augment_on_device(batch.images, batch.labels, batch.draws, augmentation, classes=100) for batch in loader]


def same(ours, theirs):
    return len(ours) == len(theirs) and all(
        torch.equal(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)
    )


def test_a_batch_is_uint8_images_with_labels_and_ids(digits_root):
    loader = train(digits_root)
    batches = list(loader)
    assert len(batches) == len(loader) == 10
    for step, batch in enumerate(batches):
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape == (24, 32, 32, 3)
        assert batch.labels.dtype == batch.ids.dtype == torch.int64
        assert batch.ids.tolist() == loader.sampler.ids(step).tolist()
        assert (batch.labels.numpy() == open_split(digits_root, "train").labels[batch.ids]).all()


def test_worker_processes_give_the_same_batches_in_the_same_order(digits_root):
    alone = list(train(digits_root))
    assert same(list(train(digits_root, workers=1)), alone)
    assert same(list(train(digits_root, workers=2)), alone)


def test_only_images_come_from_workers_in_shared_memory(digits_root):
    batch = next(iter(train(digits_root, workers=1)))
    assert [part.is_shared() for part in batch] == [True, False, False, False]


@pytest.mark.parametrize("start", [1, 7, 10])
def test_starting_at_a_step_gives_the_rest_of_the_whole(digits100_root, start):
    # 6 steps per epoch: the tail begins in the first or in the second epoch.
    whole = list(train(digits100_root, end=10))
    assert same(list(train(digits100_root, start=start, end=10)), whole[start:])


@pytest.mark.parametrize("world", [2, 3, 4])
def test_ranks_together_show_what_one_process_shows(digits100_root, world):
    whole = list(train(digits100_root))
    shares = [list(train(digits100_root, rank=rank, world=world)) for rank in range(world)]
    together = [
        tuple(torch.cat(parts) for parts in zip(*batches, strict=True)) for batches in zip(*shares, strict=True)
    ]
    assert same(together, whole)


@pytest.mark.parametrize("world", [2, 3, 6])
def test_all_of_augmentation_is_the_same_on_any_number_of_ranks(digits100_root, world):
    whole = as_trained(train(digits100_root, end=8, augmentation=ALL_OF_IT))
    shares = [
        as_trained(train(digits100_root, rank=rank, world=world, end=8, augmentation=ALL_OF_IT))
        for rank in range(world)
    ]
    together = [tuple(map(torch.cat, zip(*batches, strict=True))) for batches in zip(*shares, strict=True)]
    assert_close(together, whole)


def test_all_of_augmentation_is_the_same_after_a_restart_and_in_a_worker(digits100_root):
    whole = as_trained(train(digits100_root, end=10, augmentation=ALL_OF_IT))
    for start in (1, 7):
        rest = train(digits100_root, start=start, end=10, rank=1, world=2, workers=1, augmentation=ALL_OF_IT)
        halves = [(images[12:], labels[12:]) for images, labels in whole[start:]]
        assert_close(as_trained(rest), halves)


def assert_close(ours, theirs):
    # Sums over a batch may be added up in another order where its size differs: nothing else may.
    for (images, labels), (expected, expected_labels) in zip(ours, theirs, strict=True):
        assert torch.equal(labels, expected_labels)
        torch.testing.assert_close(images, expected, atol=2e-3, rtol=0)


def test_all_of_augmentation_shows_a_sample_otherwise_in_each_epoch(digits100_root):
    loader = train(digits100_root, end=12, augmentation=ALL_OF_IT)
    seen = [{}, {}]
    for step, (batch, (images, labels)) in enumerate(zip(loader, as_trained(loader), strict=True)):
        assert images.shape == (24, 32, 32, 3)
        torch.testing.assert_close(labels.sum(1), torch.ones(24))
        seen[loader.sampler.epoch(step)].update(
            zip(batch.ids.tolist(), zip(images, batch.draws, strict=True), strict=True)
        )
    both = seen[0].keys() & seen[1].keys()
    for sample in both:
        assert not torch.equal(seen[0][sample][0], seen[1][sample][0])
        assert not torch.equal(seen[0][sample][1][MATRIX], seen[1][sample][1][MATRIX])


def test_mixing_refuses_a_batch_that_parts_a_pair(digits100_root):
    with pytest.raises(ShardUsageError, match="each needs an even number of them; 24 over 8 is 3") as caught:
        train(digits100_root, world=8, augmentation=ALL_OF_IT)
    assert "\n" not in str(caught.value)
    assert len(train(digits100_root, world=8)) == 10, "nothing is wrong with it otherwise"


def test_evaluation_is_never_augmented(digits100_root):
    split = open_split(digits100_root, "test")
    plain, other = (
        list(EvaluationLoader(split, config(digits100_root, augmentation=each), 32, 60, 0, 1))
        for each in (Augmentation(), ALL_OF_IT)
    )
    assert same(plain, other)
    assert other[0].draws.shape == (60, 0)


def test_augmentation_differs_from_epoch_to_epoch(digits100_root):
    by_epoch = [{}, {}]
    loader = train(digits100_root, end=12)
    for step, batch in enumerate(loader):
        by_epoch[loader.sampler.epoch(step)].update(zip(batch.ids.tolist(), batch.images, strict=True))
    both = by_epoch[0].keys() & by_epoch[1].keys()
    assert len(both) > 100
    assert sum(torch.equal(by_epoch[0][sample], by_epoch[1][sample]) for sample in both) < 5


def test_the_resolution_may_vary_with_the_step(digits_root):
    sides = [16, 24, 32, 40]
    loader = train(digits_root, workers=1, resolution=lambda step: sides[step % 4], start=2, end=8)
    assert [batch.images.shape[1:3] for batch in loader] == [(side, side) for side in [32, 40, 16, 24, 32, 40]]


def test_waiting_for_data_is_measured(digits_root):
    loader = train(digits_root, workers=0, end=30)
    began = time.perf_counter()
    for _ in loader:
        time.sleep(0.005)
    elapsed = time.perf_counter() - began
    assert 0 < loader.wait_seconds < elapsed - 0.15, "the consumer's own time is not waiting"


@pytest.mark.parametrize("workers", [0, 2])
def test_damage_met_by_a_reader_stops_the_training_process_with_its_name(breakable, workers):
    loader = train(breakable, workers=workers, end=40)
    split = open_split(breakable, "train")
    offset = int(split.index[47]["offset"])
    with open(breakable / "train" / "train-000001.tar", "r+b") as shard:
        shard.seek(offset + 20)
        shard.write(b"\0\0\0\0")
    with pytest.raises(ShardDamage, match=r"train-000001\.tar: sample 000000047 at byte \d+: .*CRC-32") as caught:
        list(loader)
    assert (caught.value.key, caught.value.offset) == ("000000047", offset)


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 7, 20, 100])
def test_evaluation_sees_each_sample_once_over_all_ranks(digits100_root, world, batch):
    split = open_split(digits100_root, "test")
    loaders = [EvaluationLoader(split, config(digits100_root), 32, batch, rank, world) for rank in range(world)]
    batches = [list(loader) for loader in loaders]
    seen = torch.cat([one.ids for share in batches for one in share])
    assert sorted(seen.tolist()) == list(range(60))
    sizes = [len(one.ids) for share in batches for one in share]
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    assert {len(share) for share in batches} == {len(loaders[0])}, "all ranks take the same number of steps"


def test_evaluation_shows_images_as_stored(digits100_root):
    split = open_split(digits100_root, "test")
    (batch,) = EvaluationLoader(split, config(digits100_root), 32, 60, 0, 1)
    whole = Crops(np.tile(np.int32([0, 0, 32, 32]), (60, 1)), np.zeros(60, bool), 32)
    assert (batch.images.numpy() == read_batch(split, np.arange(60), whole)).all()
    assert batch.labels.tolist() == split.labels.tolist()


def test_evaluation_of_chosen_samples_can_be_repeated(digits100_root):
    split = open_split(digits100_root, "test")
    loader = EvaluationLoader(split, config(digits100_root, workers=1), 24, 4, 0, 1, ids=[5, 9, 5, 59, 0])
    first, second = list(loader), list(loader)
    assert torch.cat([batch.ids for batch in first]).tolist() == [5, 9, 5, 59, 0]
    assert same(first, second)
    assert list(EvaluationLoader(split, config(digits100_root), 24, 4, 0, 1, ids=[])) == []


def test_with_fewer_samples_than_ranks_some_batches_are_empty(digits100_root):
    split = open_split(digits100_root, "test")
    batches = [list(EvaluationLoader(split, config(digits100_root), 32, 8, rank, 3, ids=[4])) for rank in range(3)]
    assert [[len(batch.ids) for batch in share] for share in batches] == [[1], [0], [0]]


def test_what_cannot_be_shared_is_refused_before_reading(digits100_root):
    with pytest.raises(ShardUsageError, match="25 cannot be shared equally by 2 processes"):
        train(digits100_root, batch=25, world=2)
    with pytest.raises(ShardUsageError, match="batch: 151 is more than the split's 150 samples"):
        train(digits100_root, batch=151)
    with pytest.raises(ShardUsageError, match="batch: 0"):
        EvaluationLoader(open_split(digits100_root, "test"), config(digits100_root), 32, 0, 0, 1)


@pytest.mark.parametrize(
    "keys",
    [{"worker": 2}, {"workers": -1}, {"prefetch": 0}, {"evaluation_crop": 1.5}, {"evaluation_interpolation": "area"}],
)
def test_a_wrong_recipe_key_is_named(keys):
    with pytest.raises(ValidationError, match=next(iter(keys))):
        DataConfig(shards=Path("data"), **keys)
