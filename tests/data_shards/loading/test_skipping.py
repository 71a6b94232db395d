"""`on_corrupt: skip`: in place of a damaged sample another is shown, always the same, with its own label."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from data_shards.augmentation.config import Augmentation
from data_shards.augmentation.crops import training_crops
from data_shards.decoding import dali as dali_reader
from data_shards.decoding.python import read_batch
from data_shards.errors import ShardDamage
from data_shards.loading.loader import DataConfig, EvaluationLoader, TrainLoader
from data_shards.loading.substitution import ATTEMPTS, candidates, healthy_ids
from data_shards.randomness import Draws
from data_shards.sampler import EpochSampler
from data_shards.store.damage_record import DamageRecord
from data_shards.store.index import open_split

AUGMENTATION = Augmentation(crop="random_resized", scale=(0.5, 1.0), flip=True)
SEED, BATCH, STEPS = 7, 24, 12  # two epochs of six steps
DAMAGED = {3, 47, 48, 49, 120}


def damage_samples(root, samples):
    index = open_split(root, "train").index
    for sample in samples:
        row = index[sample]
        with open(root / "train" / f"train-{row['shard']:06d}.tar", "r+b") as shard:
            shard.seek(int(row["offset"]) + 20)
            shard.write(bytes(8))


@pytest.fixture
def damaged(breakable):
    damage_samples(breakable, DAMAGED)
    return breakable


def loader(root, workers=0, rank=0, world=1, start=0, end=STEPS, on_corrupt="skip", reader="python"):
    config = DataConfig(shards=root, augmentation=AUGMENTATION, workers=workers, on_corrupt=on_corrupt, reader=reader)
    return TrainLoader(open_split(root, "train"), config, 32, BATCH, SEED, rank, world, start, end)


def test_only_damaged_samples_are_replaced_and_by_whole_ones(damaged, digits100_root):
    sampler, whole = EpochSampler(150, BATCH, SEED), open_split(digits100_root, "train")
    replaced = []
    for step, batch in enumerate(loader(damaged)):
        wanted, shown = sampler.ids(step), batch.ids.numpy()
        assert not set(shown.tolist()) & DAMAGED
        assert (shown == wanted)[~np.isin(wanted, list(DAMAGED))].all()
        replaced += wanted[shown != wanted].tolist()
        # The label and the crop are those of the sample that is shown, as stored in the whole data set.
        assert (batch.labels.numpy() == whole.labels[shown]).all()
        rows = whole.index[shown]
        what = training_crops(AUGMENTATION, Draws(SEED, sampler.epoch(step), shown), rows["height"], rows["width"], 32)
        assert (batch.images.numpy() == read_batch(whole, shown, what)).all()
    assert set(replaced) == DAMAGED


@pytest.mark.parametrize("workers", [0, 2])
def test_all_skipped_samples_are_reported_by_the_readers(damaged, workers):
    reading, sampler = loader(damaged, workers=workers), EpochSampler(150, BATCH, SEED)
    for step, batch in enumerate(reading):
        wanted = set(sampler.ids(step).tolist())
        reported = {int(damage.key) for damage in reading.skipped}
        assert wanted & DAMAGED <= reported <= DAMAGED, "with the batch that shows another, not later"
        assert bool(reported) == bool((batch.ids.numpy() != sampler.ids(step)).any())
        assert all("CRC-32 differs" in damage.reason and damage.offset for damage in reading.skipped)
        reading.skipped.clear()


def test_a_resumed_run_shows_the_same_substitutes(damaged):
    whole = list(loader(damaged))
    for start in (1, 5, 8):
        rest = list(loader(damaged, workers=1, start=start))
        for ours, theirs in zip(rest, whole[start:], strict=True):
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_together_show_the_same_substitutes_and_report_the_same_damage(damaged, world):
    alone = loader(damaged)
    whole = list(alone)
    shares = [loader(damaged, rank=rank, world=world) for rank in range(world)]
    batches = [list(share) for share in shares]
    for step, batch in enumerate(whole):
        assert torch.equal(torch.cat([share[step].ids for share in batches]), batch.ids)
        assert torch.equal(torch.cat([share[step].images for share in batches]), batch.images)
    reported = {damage.key for share in shares for damage in share.skipped}
    assert reported == {damage.key for damage in alone.skipped} == {f"{sample:09d}" for sample in DAMAGED}


def test_a_substitute_is_read_alone_also_where_samples_are_mixed_in_pairs(damaged):
    config = DataConfig(shards=damaged, augmentation=Augmentation(mixup=0.2), workers=0, on_corrupt="skip")
    mixed = list(TrainLoader(open_split(damaged, "train"), config, 32, BATCH, SEED, 0, 1, 0, STEPS))
    assert len(mixed) == STEPS
    for batch, alone in zip(mixed, loader(damaged), strict=True):
        assert torch.equal(batch.ids, alone.ids)
        assert len(batch.draws) == len(batch.ids)


@pytest.mark.skipif(not dali_reader.installed(), reason="needs NVIDIA DALI: pip install '.[dali]'")
@pytest.mark.parametrize("start", [0, 5])
def test_both_readers_skip_the_same_samples_and_show_the_same_ones(damaged, start):
    python, dali = loader(damaged, start=start), loader(damaged, workers=2, reader="dali", start=start)
    steps = 0
    for ours, theirs in zip(python, dali, strict=True):
        assert torch.equal(ours.ids, theirs.ids)
        assert torch.equal(ours.labels, theirs.labels)
        assert (ours.images.int() - theirs.images.cpu().int()).abs().float().mean() < 4, "the same crops"
        assert {damage.key for damage in python.skipped} == {damage.key for damage in dali.skipped}, "batch by batch"
        python.skipped.clear()
        dali.skipped.clear()
        steps += 1
    assert steps == STEPS - start


def test_by_default_damage_fails(damaged):
    reading = loader(damaged, on_corrupt="fail")
    with pytest.raises(ShardDamage, match="CRC-32 differs"):
        list(reading)
    assert DataConfig(shards=damaged).on_corrupt == "fail"
    assert reading.skipped == []


def test_evaluation_fails_even_where_training_skips(damaged):
    config = DataConfig(shards=damaged, workers=0, on_corrupt="skip")
    split = open_split(damaged, "train")
    evaluation = EvaluationLoader(split, config, 32, 50, 0, 1)
    with pytest.raises(ShardDamage, match="sample 000000003 at byte"):
        list(evaluation)
    assert evaluation.skipped == []


@pytest.mark.parametrize("on_corrupt", ["skip", "fail"])
def test_a_recalibration_sample_may_be_replaced_where_training_skips(damaged, on_corrupt):
    config = DataConfig(shards=damaged, workers=0, on_corrupt=on_corrupt)
    chosen = [1, 2, 3, 4]
    sample = EvaluationLoader(open_split(damaged, "train"), config, 32, 4, 0, 1, ids=chosen, substitute=True)
    if on_corrupt == "fail":
        with pytest.raises(ShardDamage, match="sample 000000003 at byte"):
            list(sample)
        return
    (batch,) = sample
    assert batch.ids[[0, 1, 3]].tolist() == [1, 2, 4]
    assert batch.ids[2] not in DAMAGED
    assert [damage.key for damage in sample.skipped] == ["000000003"]


def test_substitutes_follow_from_seed_epoch_and_sample():
    def check(sample):
        if sample % 2:
            raise ShardDamage("s.tar", "odd", key=f"{sample:09d}", offset=0)

    whole, _ = healthy_ids(np.arange(1000), 5, 2, 1000, check)
    part, _ = healthy_ids(np.array([701, 33, 8, 9]), 5, 2, 1000, check)
    assert part.tolist() == whole[[701, 33, 8, 9]].tolist()
    assert (whole[::2] == np.arange(0, 1000, 2)).all()
    assert (whole % 2 == 0).all()
    most = Counter(whole[1::2].tolist()).most_common(1)[0][1]
    assert most <= 8, "500 substitutes are spread over all: none stands in for many"
    for seed, epoch in ((6, 2), (5, 3)):
        assert (healthy_ids(np.arange(1000), seed, epoch, 1000, check)[0][1::2] == whole[1::2]).mean() < 0.05


def test_a_damaged_substitute_is_passed_over_and_reported():
    first, second = candidates(1, 0, 10, 50)[:2]
    assert len({10, first, second}) == 3

    def check(sample):
        if sample in (10, first):
            raise ShardDamage("s.tar", "torn", key=f"{sample:09d}", offset=0)

    ids, damages = healthy_ids(np.array([10]), 1, 0, 50, check)
    assert ids.tolist() == [second]
    assert [damage.key for damage in damages] == ["000000010", f"{first:09d}"]


def test_where_nothing_is_whole_the_search_ends():
    asked = []

    def check(sample):
        asked.append(sample)
        raise ShardDamage("s.tar", "torn", key=f"{sample:09d}", offset=8)

    with pytest.raises(ShardDamage, match=rf"sample 000000010 at byte 8: torn; so are all {ATTEMPTS} samples tried"):
        healthy_ids(np.array([10, 11]), 1, 0, 10**6, check)
    assert len(asked) == ATTEMPTS + 1


def damage(sample, shard=0):
    return ShardDamage(f"/somewhere/train/train-{shard:06d}.tar", "torn", key=f"{sample:09d}", offset=sample)


def test_damage_is_counted_by_shard_and_each_sample_once(tmp_path):
    record = DamageRecord(tmp_path, samples=1000, allowed=0.004)
    firsts = record.add([damage(1), damage(2), damage(300, 3)])
    assert [first.key for first in firsts] == ["000000001", "000000300"]
    assert record.add([damage(2), damage(1), damage(4)]) == []
    assert (len(record), record.by_shard) == (4, {"train-000000.tar": 3, "train-000003.tar": 1})
    record.check()
    record.add([damage(5)])
    told = "5 of 1000 samples found damaged: 4 in train-000000.tar, 1 in train-000003.tar, more than the 4 that max_"
    with pytest.raises(ShardDamage, match=told):
        record.check()


def test_a_message_about_many_shards_stays_a_line(tmp_path):
    record = DamageRecord(tmp_path, samples=1000, allowed=0)
    record.add(damage(sample, sample // 2) for sample in range(100))
    with pytest.raises(ShardDamage, match=r"100 of 1000 .* the others in 45 more shards, more than the 0") as caught:
        record.check()
    assert len(str(caught.value)) < 500


def test_a_record_survives_a_restart(tmp_path):
    record, again = (DamageRecord(tmp_path, samples=1000, allowed=0.1) for _ in range(2))
    record.add([damage(1), damage(300, 3)])
    written = record.to_json()
    assert written["damaged_samples"] == 2
    assert written["shards"]["train-000003.tar"] == {"000000300": {"offset": 300, "reason": "torn"}}
    again.read(json.loads(json.dumps(written)))
    assert again.to_json() == record.to_json()
    assert again.add([damage(1)]) == []
    for content in ([], {}, {"shards": 3}, {"shards": {"a": {"b": 1}}}):
        with pytest.raises(ValueError):
            again.read(content)


@pytest.mark.parametrize(
    ("keys", "named"),
    [({"on_corrupt": "ignore"}, "on_corrupt"), ({"max_corrupt": 1}, "max_"), ({"max_corrupt": -1}, "max_")],
)
def test_a_wrong_recipe_key_is_named(tmp_path, keys, named):
    with pytest.raises(ValidationError, match=named):
        DataConfig(shards=tmp_path, **keys)
