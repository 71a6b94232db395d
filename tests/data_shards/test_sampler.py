"""The order of samples: each once an epoch, and the same on any number of ranks."""

import numpy as np
import pytest

from data_shards.errors import ShardUsageError
from data_shards.sampler import EpochSampler


def epoch_ids(sampler, epoch):
    steps = range(epoch * sampler.steps_per_epoch, (epoch + 1) * sampler.steps_per_epoch)
    return np.concatenate([sampler.ids(step) for step in steps])


def test_an_epoch_shows_each_sample_once_and_another_order_follows():
    sampler = EpochSampler(samples=1000, batch=50, seed=4)
    first, second = epoch_ids(sampler, 0), epoch_ids(sampler, 1)
    assert sorted(first) == sorted(second) == list(range(1000))
    assert (first == second).mean() < 0.05
    assert (first == np.arange(1000)).mean() < 0.05


def test_what_one_epoch_leaves_out_is_not_always_the_same():
    sampler = EpochSampler(samples=107, batch=50, seed=4)
    assert sampler.steps_per_epoch == 2
    left_out = [set(range(107)) - set(epoch_ids(sampler, epoch).tolist()) for epoch in range(40)]
    assert all(len(ids) == 7 for ids in left_out)
    assert len(set.union(*left_out)) > 90


def test_any_step_can_be_asked_for_in_any_order():
    steps = [17, 3, 900, 3, 0, 17]
    once = EpochSampler(samples=90, batch=9, seed=1)
    asked = [once.ids(step).tolist() for step in steps]
    assert asked == [EpochSampler(samples=90, batch=9, seed=1).ids(step).tolist() for step in steps]
    assert once.epoch(900) == 90


def test_another_seed_is_another_order():
    one, other = (EpochSampler(samples=500, batch=500, seed=seed).ids(0) for seed in (0, 1))
    assert (one == other).mean() < 0.05


@pytest.mark.parametrize("world", [1, 2, 3, 4, 12])
def test_the_ranks_share_the_global_batch_equally(world):
    sampler = EpochSampler(samples=100, batch=12, seed=0)
    shares = [sampler.rank_ids(5, rank, world) for rank in range(world)]
    assert {len(share) for share in shares} == {12 // world}
    assert np.concatenate(shares).tolist() == sampler.ids(5).tolist()


def test_the_order_is_shuffled_evenly():
    # Where sample 0 lands, over many epochs, is uniform: each tenth of the epoch gets it about equally often.
    sampler = EpochSampler(samples=100, batch=100, seed=9)
    places = [int(np.flatnonzero(sampler.ids(epoch) == 0)[0]) for epoch in range(1000)]
    assert np.abs(np.histogram(places, bins=10, range=(0, 100))[0] - 100).max() < 45


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: EpochSampler(samples=10, batch=11, seed=0), "batch: 11 is more than the split's 10 samples"),
        (lambda: EpochSampler(samples=10, batch=0, seed=0), "batch: 0"),
        (lambda: EpochSampler(samples=10, batch=10, seed=0).rank_ids(0, 0, 3), "10 cannot be shared equally by 3"),
        (lambda: EpochSampler(samples=10, batch=10, seed=0).rank_ids(0, 2, 2), "rank: 2"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(call, message):
    with pytest.raises(ShardUsageError, match=message):
        call()
