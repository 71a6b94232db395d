"""Subnets as rows: back to the same subnets, one row for each, and with the sizes that a single subnet has."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.predictor.encoding import Encoding
from pipeline.predictor.features import Features
from pipeline.search.sizes import Sizes
from pipeline.supernet.complexity import complexity
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import SubnetError

# Depths that expand ratios go with, and several resolutions: what no network's own space has.
_TIED = NETWORKS["mobilenet_v3_digits"]
SPACES: dict[str, Space] = {
    **NETWORKS,
    "tied": replace(
        _TIED, stages=tuple(replace(stage, ties=((1, 3), (2, 6))) for stage in _TIED.stages), resolutions=(24, 32)
    ),
}
SMALL = NETWORKS["mobilenet_v3_digits"]


@pytest.mark.parametrize("name", SPACES)
def test_rows_and_subnets_are_each_others_inverse_in_every_network(name: str) -> None:
    space = SPACES[name]
    encoding, generator = Encoding(space), torch.Generator().manual_seed(3)
    subnets = [space.smallest(), space.largest(), *(space.sample(generator) for _ in range(50))]
    rows = encoding.encode(subnets)
    assert [encoding.decode(row) for row in rows] == subnets
    drawn = np.concatenate([draw(50, np.random.default_rng(1)) for draw in (encoding.sample, encoding.sample_spread)])
    assert np.array_equal(encoding.encode([space.validate(encoding.decode(row)) for row in drawn]), drawn)


def test_a_subnet_has_one_row_whatever_is_chosen_for_blocks_that_it_lacks() -> None:
    encoding = Encoding(SMALL)
    every = np.array(list(itertools.product(*(range(count) for count in encoding.counts))), np.int16)
    rows = np.unique(encoding.canonical(every), axis=0)
    assert len({str(encoding.decode(row)) for row in every}) == len(rows) == encoding.size()
    assert np.array_equal(encoding.every(), rows)


def test_the_size_of_a_space_is_the_papers() -> None:
    assert Encoding(NETWORKS["attentive_nas"]).size() == 440_301_256_704
    assert Encoding(NETWORKS["mobilenet_v3"]).size() == (9**2 + 9**3 + 9**4) ** 5


@pytest.mark.parametrize("name", SPACES)
def test_sizes_of_many_are_those_of_each(name: str) -> None:
    encoding = Encoding(SPACES[name])
    sizes, rows = Sizes(encoding), encoding.sample(60, np.random.default_rng(0))
    expected = [
        (size.macs, size.parameters) for size in (complexity(SPACES[name], encoding.decode(row)) for row in rows)
    ]
    assert [tuple(found) for found in sizes(rows).tolist()] == expected
    assert np.array_equal(sizes(rows[::-1]), sizes(rows)[::-1])


def test_random_subnets_that_are_spread_reach_sizes_that_uniform_ones_do_not() -> None:
    encoding = Encoding(NETWORKS["mobilenet_v3"])
    uniform, spread = (
        Sizes(encoding)(draw(500, np.random.default_rng(0)))[:, 0] for draw in (encoding.sample, encoding.sample_spread)
    )
    assert spread.min() < 150e6 < uniform.min()
    assert spread.max() > 500e6 > uniform.max()


def test_a_resolution_that_the_space_does_not_have_is_refused() -> None:
    with pytest.raises(SubnetError, match=r"resolution 28 is none of \[32\]"):
        Encoding(SMALL).encode([replace(SMALL.smallest(), resolution=28)])


def test_features_of_a_subnet_by_hand() -> None:
    """Stage 1 is one block k5 e4; stage 2 two blocks k3 e3 and k5 e6; of depths 1–2, kernels 3, 5, expands 3, 4, 6."""
    encoding = Encoding(SMALL)
    features = Features(encoding)
    rows = encoding.encode([SMALL.parse("d1.2-k5.35-e4.36-r32"), SMALL.smallest(), SMALL.largest()])
    sums = features.sums(rows)
    assert features.names() == ["depth 1", "depth 2", "kernels 1", "expands 1", "kernels 2", "expands 2"]
    # depths, then kernels and expands of each stage: from the smallest's to the largest's
    assert sums[0].tolist() == pytest.approx([0, 1, (5 - 3) / 7, (4 - 3) / 9, (8 - 3) / 7, (9 - 3) / 9])
    assert not sums[1].any()
    assert (sums[2] == 1).all()
    assert features.products(rows)[0, 1] == sums[0, 0] * sums[0, 1]
    assert features.products(rows).shape[1] == 6 * 7 // 2
    choices = features.choices(rows)
    assert choices[0].sum() == 2 + 3 * 2 + 1  # two depths; kernel and expand of three blocks; the resolution
    assert choices[1].sum() == 2 + 2 * 2 + 1


@pytest.mark.parametrize("name", SPACES)
def test_equal_features_mean_equal_subnets_in_every_network(name: str) -> None:
    encoding = Encoding(SPACES[name])
    rows = np.unique(encoding.sample(80, np.random.default_rng(0)), axis=0)
    features = Features(encoding)
    assert len(np.unique(features.choices(rows), axis=0)) == len(rows)
    assert features.sums(rows).min() >= 0
    assert features.sums(rows).max() <= 1
