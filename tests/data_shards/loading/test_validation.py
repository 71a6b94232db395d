"""`validation_samples`: training images that training never shows, and evaluation counts once each."""

import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from data_shards.augmentation.config import Augmentation
from data_shards.config import DataConfig
from data_shards.decoding import dali as dali_reader
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.loading.loader import EvaluationLoader, TrainLoader
from data_shards.open_data import open_data, validation_ids
from data_shards.store.index import open_split
from tests.data_shards.shard_server import shard_server

AUGMENTATION = Augmentation(crop="random_resized", scale=(0.5, 1.0), flip=True)
TRAINED, KEPT, BATCH, EPOCHS = 150, 40, 22, 3
STEPS = EPOCHS * ((TRAINED - KEPT) // BATCH)
DALI = pytest.mark.skipif(not dali_reader.installed(), reason="needs NVIDIA DALI: pip install '.[dali]'")


def config(root, validation=KEPT, **keys):
    return DataConfig(shards=root, augmentation=AUGMENTATION, validation_samples=validation, **{"workers": 0, **keys})


def shown(data, rank=0, world=1, steps=STEPS):
    """The batches of training, with ids of the whole split."""
    train = open_data(data).train
    loader = TrainLoader(train, data, 32, BATCH, 7, rank, world, 0, steps)
    return [batch._replace(ids=torch.from_numpy(train.ids[batch.ids])) for batch in loader]


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"workers": 2},
        {"access": "sequential", "shuffle_block": 16},
        {"access": "sequential", "shuffle_block": 16, "workers": 2},
        pytest.param({"reader": "dali", "workers": 2}, marks=DALI),
        pytest.param({"reader": "dali", "access": "sequential", "shuffle_block": 16}, marks=DALI),
    ],
    ids=str,
)
@pytest.mark.parametrize("world", [1, 2])
def test_no_validation_image_is_ever_trained_on_and_all_others_are_as_they_were_packed(digits100_root, keys, world):
    data, whole = config(digits100_root, **keys), open_split(digits100_root, "train")
    kept = set(validation_ids(TRAINED, KEPT).tolist())
    if keys.get("access") == "sequential" and world * max(keys.get("workers", 0), 1) > 4:
        pytest.skip("more streams than shards")
    seen = Counter()
    for rank in range(world):
        for batch in shown(data, rank, world):
            assert (batch.labels.numpy() == whole.labels[batch.ids]).all(), "labels are those of the images"
            seen.update(batch.ids.tolist())
    assert not kept & seen.keys()
    assert seen.keys() == set(range(TRAINED)) - kept, "and no other is left out"
    assert set(seen.values()) == {EPOCHS}, "as the batches divide them"


def test_streams_from_a_server_do_without_validation_images(digits100_root):
    keys = {"access": "sequential", "shuffle_block": 16}
    with shard_server(digits100_root) as server:
        streamed = shown(config(digits100_root, stream_from=server.url, **keys))
    for ours, theirs in zip(streamed, shown(config(digits100_root, **keys)), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_validation_image_is_counted_once(digits100_root, world):
    data = config(digits100_root)
    part, whole = open_data(data).validation, open_split(digits100_root, "train")
    counted = []
    for rank in range(world):
        for batch in EvaluationLoader(part, data, 32, 9, rank, world):
            ids = part.ids[batch.ids]
            assert (batch.labels.numpy() == whole.labels[ids]).all()
            if len(ids):
                (same,) = EvaluationLoader(whole, data, 32, 9, 0, 1, ids=ids)
                assert torch.equal(batch.images, same.images)
            counted += ids.tolist()
    assert sorted(counted) == validation_ids(TRAINED, KEPT).tolist()


def test_validation_images_follow_from_the_number_of_training_images_alone():
    ids = validation_ids(50_000, 5_000)
    assert ids[:6].tolist() == [4, 9, 15, 41, 43, 62], "and never change"
    assert len(set(ids.tolist())) == 5_000
    assert set(validation_ids(50_000, 100).tolist()) <= set(ids.tolist()), "a choice of fewer is part of it"
    assert np.histogram(ids, 10, (0, 50_000))[0].min() > 400, "spread over the whole split"


def test_a_damaged_sample_is_never_replaced_by_a_validation_image(breakable):
    kept = set(validation_ids(TRAINED, KEPT).tolist())
    whole = open_split(breakable, "train")
    damaged = [sample for sample in range(TRAINED) if sample not in kept][::2]  # half of them
    for sample in damaged:
        row = whole.index[sample]
        with open(breakable / "train" / f"train-{row['shard']:06d}.tar", "r+b") as shard:
            shard.seek(int(row["offset"]) + 20)
            shard.write(bytes(8))
    for keys in ({}, {"access": "sequential", "shuffle_block": 16}):
        data = config(breakable, on_corrupt="skip", max_corrupt=0.9, **keys)
        train = open_data(data).train
        loader = TrainLoader(train, data, 32, BATCH, 7, 0, 1, 0, STEPS)
        ids = {int(sample) for batch in loader for sample in train.ids[batch.ids]}
        assert not ids & kept
        assert not ids & set(damaged)
        assert {int(damage.key) for damage in loader.skipped} == set(damaged), "named as they are packed"


def test_damage_to_a_validation_image_does_not_touch_training_but_fails_evaluation(breakable):
    sample = int(validation_ids(TRAINED, KEPT)[3])
    row = open_split(breakable, "train").index[sample]
    with open(breakable / "train" / f"train-{row['shard']:06d}.tar", "r+b") as shard:
        shard.seek(int(row["offset"]) + 20)
        shard.write(bytes(8))
    for keys in ({}, {"access": "sequential", "shuffle_block": 16}):
        assert len(shown(config(breakable, **keys))) == STEPS
    data = config(breakable, on_corrupt="skip")
    with pytest.raises(ShardDamage, match=f"{sample:09d}"):
        list(EvaluationLoader(open_data(data).validation, data, 32, 9, 0, 1))


def test_without_validation_images_the_whole_split_is_trained_on(digits100_root):
    train, validation, test = open_data(config(digits100_root, validation=0))
    assert (len(train), validation, len(test)) == (TRAINED, None, 60)


def test_parts_are_sent_to_worker_processes_as_they_are(digits100_root):
    train = pickle.loads(pickle.dumps(open_data(config(digits100_root)).train))
    assert len(train) == TRAINED - KEPT
    assert train.key(0) == f"{min(set(range(TRAINED)) - set(validation_ids(TRAINED, KEPT).tolist())):09d}"


def test_an_image_must_be_left_to_train_on(digits100_root):
    with pytest.raises(ShardUsageError, match=r"validation_samples: 150 of the 150 training samples"):
        open_data(config(digits100_root, validation=TRAINED))
    assert len(open_data(config(digits100_root, validation=TRAINED - 1)).train) == 1
