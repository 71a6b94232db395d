"""Draws are fixed for good, uniform, and independent of each other; and nothing is drawn but for a named purpose."""

import ast
from pathlib import Path

import numpy as np
import pytest

from data_shards.randomness import DataSetDraws, Draws, Of, Purpose, random_bits, splitmix64
from tests.support.command_line import REPOSITORY


def test_splitmix64_gives_the_published_sequence():
    # Its first outputs for seed 1234567, from the test vectors in circulation.
    state = np.uint64(1234567)
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    gamma = np.uint64(0x9E3779B97F4A7C15)
    with np.errstate(over="ignore"):
        states = state + gamma * np.arange(4, dtype=np.uint64)
        assert splitmix64(states).tolist() == published


def test_values_are_fixed_for_good():
    # A recorded run must find its order and its crops again: these values may never change.
    assert random_bits(1, 2, np.arange(3)).tolist() == [241634772696565473, 8714790858771135257, 2631713133289659540]


def uniform(*counters):
    return (random_bits(*counters) >> np.uint64(11)) * 2.0**-53


@pytest.mark.parametrize("vary", range(3))
def test_draws_are_uniform_in_each_counter(vary):
    counters = [np.int64(7), np.int64(11), np.int64(13)]
    counters[vary] = np.arange(100_000)
    draws = uniform(*counters)
    assert draws.min() >= 0
    assert draws.max() < 1
    observed = np.histogram(draws, bins=100, range=(0, 1))[0]
    chi_square = ((observed - 1000) ** 2 / 1000).sum()
    assert 55 < chi_square < 160, "99 degrees of freedom: outside once in ten thousand seeds"
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.02, "neighbours are independent"


def test_neighbouring_seeds_and_purposes_are_independent():
    ids = np.arange(50_000)
    streams = [uniform(seed, purpose, ids) for seed in (0, 1) for purpose in (0, 1)]
    correlation = np.corrcoef(streams) - np.eye(4)
    assert np.abs(correlation).max() < 0.02


def test_negative_and_large_seeds_are_seeds_of_their_own():
    assert len({int(random_bits(seed, 5)) for seed in (-1, 0, 1, 2**31, 2**62)}) == 5


def test_what_is_drawn_for_a_sample_is_its_own_hash():
    """Which counters are hashed, in which order: as in every run so far."""
    ids = np.array([4, 9, 2])
    draws = Draws(7, 3, ids)
    flip, jitter = Purpose.FLIP.number, Purpose.JITTER.number
    assert draws.bits(Purpose.FLIP).tolist() == [int(random_bits(7, flip, 3, sample)) for sample in ids]
    assert draws.uniform(Purpose.FLIP).tolist() == [float(uniform(7, flip, 3, sample)) for sample in ids]
    several = [[float(uniform(7, jitter, 3, sample, each)) for each in range(4)] for sample in ids]
    assert draws.uniform(Purpose.JITTER, 4).tolist() == several
    assert Draws(7, 3, np.array(9)).uniform(Purpose.JITTER, 4).tolist() == several[1]


def test_partners_draw_together():
    pairs = Draws(7, 3, np.array([4, 9, 2, 5])).pairs()
    assert pairs.bits(Purpose.MIX).tolist() == [
        int(random_bits(7, Purpose.MIX.number, 3, *pair)) for pair in ((4, 9), (2, 5))
    ]


def test_what_is_drawn_for_a_data_set_is_its_own_hash():
    positions, number = np.array([3, 1]), Purpose.DIGITS100_GEOMETRY.number
    assert DataSetDraws(positions).bits(Purpose.SHEET_IMAGES).tolist() == [int(random_bits(0, each)) for each in (3, 1)]
    seeded = DataSetDraws(positions, seed=5).bits(Purpose.FILE_ORDER)
    assert seeded.tolist() == [int(random_bits(5, Purpose.FILE_ORDER.number, each)) for each in (3, 1)]
    stream = random_bits(5, 1, number).astype(np.int64)
    table = [[[int(random_bits(stream, each, i, j)) for j in range(5)] for i in range(2)] for each in (3, 1)]
    assert DataSetDraws(positions, seed=5, split=1).bits(Purpose.DIGITS100_GEOMETRY, 2, 5).tolist() == table


def test_an_order_is_a_permutation():
    order = Draws(7, 3, np.arange(1000)).order(Purpose.ORDER)
    assert sorted(order.tolist()) == list(range(1000))
    assert (order != np.arange(1000)).mean() > 0.9


@pytest.mark.parametrize("purpose", Purpose)
def test_a_purpose_is_drawn_for_in_its_own_way_only(purpose):
    ids = np.arange(2)
    for draws, of in ((Draws(0, 0, ids), Of.EPOCH), (DataSetDraws(ids, 0), Of.DATA_SET)):
        if purpose.of is of:
            draws.bits(purpose)
        else:
            with pytest.raises(AssertionError):
                draws.bits(purpose)


def imported_from_randomness(path: Path) -> set[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "data_shards.randomness"]
    return {alias.name for node in imports for alias in node.names}


def test_nothing_is_drawn_without_a_purpose():
    """Whatever is drawn is drawn by these values; nobody hashes numbers of his own."""
    paths = [path for package in ("data_shards", "pipeline") for path in (REPOSITORY / package).rglob("*.py")]
    imported = [imported_from_randomness(path) for path in paths]
    assert set().union(*imported) == {"DataSetDraws", "Draws", "Of", "Purpose"}
    assert sum(map(bool, imported)) > 10
