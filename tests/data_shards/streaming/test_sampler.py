"""The order of samples that are read sequentially: each once an epoch, in shuffled blocks, known without reading."""

from itertools import pairwise

import numpy as np
import pytest

from data_shards.errors import ShardUsageError
from data_shards.streaming.sampler import StreamSampler

SHARDS = (20, 20, 7, 20, 1, 20, 20, 20, 13, 9)  # 150 samples
FIRST = np.cumsum((0, *SHARDS)).tolist()  # id of each shard's first sample
GROUPS = [(1, 1, 16), (1, 2, 16), (2, 1, 5), (2, 3, 1), (3, 2, 7), (3, 3, 1000), (4, 2, 24)]


def sampler(world=1, streams=1, block=16, seed=7, batch=24, shards=SHARDS):
    return StreamSampler(sum(shards), batch, seed, shards, world, streams, block)


def shard_of(sample):
    return int(np.searchsorted(np.cumsum(SHARDS), sample, side="right"))


def streams_of(one, epoch, world, streams):
    """The samples that each stream of each rank shows in an epoch, in order, and the blocks that it needs."""
    steps = one.steps_per_epoch
    for rank in range(world):
        for stream in range(streams):
            mine = range(epoch * steps + stream, (epoch + 1) * steps, streams)
            shown = [sample for step in mine for sample in one.rank_ids(step, rank, world).tolist()]
            yield shown, list(dict.fromkeys(block for step in mine for block in one.blocks(step, rank)))


def samples_in(block):
    return [sample for first, end in block for sample in range(first, end)]


@pytest.mark.parametrize(("world", "streams", "block"), GROUPS)
def test_an_epoch_shows_no_sample_twice_and_leaves_out_less_than_a_batch(world, streams, block):
    one = sampler(world, streams, block)
    assert one.steps_per_epoch == 6
    left_out = set()
    for epoch in range(5):
        shown = np.concatenate([one.ids(step) for step in range(6 * epoch, 6 * epoch + 6)])
        assert len(set(shown.tolist())) == len(shown) == 144
        left_out |= set(range(150)) - set(shown.tolist())
    assert len(left_out) > 6, "not the same samples in each epoch"


@pytest.mark.parametrize(("world", "streams", "block"), GROUPS)
def test_streams_share_the_shards_and_read_each_from_one_end_to_the_other(world, streams, block):
    one = sampler(world, streams, block)
    for epoch in (0, 3):
        read = []
        for shown, blocks in streams_of(one, epoch, world, streams):
            sizes = [len(samples_in(each)) for each in blocks]
            assert sizes[:-1] == [block] * (len(sizes) - 1)
            # In blocks: the samples of each are shown before those of the next, and not in the order of reading.
            for number, each in enumerate(blocks):
                begin = number * block
                assert sorted(shown[begin : begin + len(samples_in(each))]) == sorted(samples_in(each))
            read += [sample for each in blocks for sample in samples_in(each)]
        visited = [shard_of(sample) for sample in read]
        order = list(dict.fromkeys(visited))
        assert visited == [shard for shard in order for _ in range(visited.count(shard))], "one shard after the other"
        for before, sample in pairwise(read):
            assert sample == (before + 1 if shard_of(before) == shard_of(sample) else FIRST[shard_of(sample)])
        assert order != sorted(order)


@pytest.mark.parametrize(("world", "streams", "block"), GROUPS)
def test_a_step_draws_from_its_blocks_and_the_next_one_is_known(world, streams, block):
    one = sampler(world, streams, block)
    for step in range(12):
        for rank in range(world):
            ids, blocks = one.rank_ids(step, rank, world).tolist(), one.blocks(step, rank)
            assert set(ids) <= {sample for each in blocks for sample in samples_in(each)}
            assert set(ids) & set(samples_in(blocks[0]))
            for first, end in [run for each in blocks for run in each]:
                assert first < end
                assert shard_of(first) == shard_of(end - 1)
            following = step + streams
            if following // 6 == step // 6:
                needed = set(one.rank_ids(following, rank, world).tolist())
                assert needed & {sample for each in blocks for sample in samples_in(each)}


def test_the_order_is_a_pure_function():
    asked_before = sampler(2, 2)
    for step in (40, 3, 17):
        asked_before.ids(step)
    for step in (0, 5, 6, 29):
        assert asked_before.ids(step).tolist() == sampler(2, 2).ids(step).tolist()


@pytest.mark.parametrize("other", [{"seed": 8}, {"block": 17}, {"streams": 3}, {"world": 1}])
def test_the_order_follows_from_seed_block_and_streams(other):
    one, another = sampler(2, 2), sampler(**({"world": 2, "streams": 2} | other))
    assert [one.ids(step).tolist() for step in range(6)] != [another.ids(step).tolist() for step in range(6)]


def test_epochs_and_blocks_are_shuffled_differently():
    one = sampler(shards=(30,) * 5, batch=30, block=30)
    orders = [np.argsort(one.ids(step)).tolist() for step in range(10)]
    assert len({tuple(order) for order in orders}) == 10
    firsts = [int(one.ids(5 * epoch).min()) for epoch in range(6)]
    assert len(set(firsts)) > 1, "the shards come in another order"


def test_blocks_are_shuffled_evenly():
    one = sampler(shards=(50,) * 4, batch=50, block=50)
    places = np.array([np.argsort(one.ids(step)) for step in range(400)])  # [step, sample of its block]
    assert np.abs(places.mean(axis=0) - 24.5).max() < 4 * 14.43 / 20, "mean place of each sample, four sigmas"


def test_what_cannot_be_streamed_is_refused():
    with pytest.raises(ShardUsageError, match=r"10 shards are fewer than the 12 streams .*4 processes × 3 workers"):
        sampler(4, 3)
    with pytest.raises(ShardUsageError, match="24 cannot be shared equally by 5 processes"):
        sampler(5).rank_ids(0, 0, 5)
    with pytest.raises(ShardUsageError, match="rank: 2 is not one of"):
        sampler(2).blocks(0, 2)
