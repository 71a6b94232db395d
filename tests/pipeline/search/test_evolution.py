"""NSGA-II on our subnets: canonical, different, within limits, and the same for a seed."""

import numpy as np

from pipeline.predictor.encoding import Encoding, Rows
from pipeline.predictor.features import Features
from pipeline.search.evolution import Wanted, evolve
from pipeline.search.front import front
from pipeline.search.objectives import Objectives
from pipeline.supernet.networks import NETWORKS

ENCODING = Encoding(NETWORKS["attentive_nas_digits"])
OBJECTIVES = Objectives(ENCODING)
FEATURES = Features(ENCODING)
LIMIT = {"params": 0.6 * OBJECTIVES.ends("params")[1]}
NONE = np.zeros((0, len(ENCODING.counts)), np.int16)


def accuracies(rows: Rows) -> np.ndarray:
    return FEATURES.sums(rows).sum(axis=1)


def wanted(rows: Rows) -> Wanted:
    pair = np.stack([OBJECTIVES("macs", rows), -accuracies(rows)], axis=1)
    return Wanted(pair, OBJECTIVES.excesses(LIMIT, rows))


def test_all_that_are_born_are_different_canonical_and_follow_from_the_seed() -> None:
    first = ENCODING.encode([ENCODING.space.smallest(), ENCODING.space.largest()])
    born = evolve(ENCODING, wanted, 20, 6, 3, first)
    assert np.array_equal(born[:2], first)
    assert len(np.unique(born, axis=0)) == len(born)
    assert np.array_equal(ENCODING.canonical(born), born)
    assert np.array_equal(evolve(ENCODING, wanted, 20, 6, 3, first), born)
    assert not np.array_equal(evolve(ENCODING, wanted, 20, 6, 4, first), born)


def test_it_is_asked_for_new_subnets_of_a_generation_together() -> None:
    asked: list[Rows] = []

    def noting(rows: Rows) -> Wanted:
        asked.append(rows)
        return wanted(rows)

    evolve(ENCODING, noting, 20, 4, 0, NONE)
    assert [len(rows) for rows in asked] == [0, 20, 20, 20, 20]


def test_its_last_generations_are_within_the_limit_and_better_than_its_first() -> None:
    born = evolve(ENCODING, wanted, 20, 15, 0, NONE)
    assert (OBJECTIVES.excesses(LIMIT, born[-100:]) <= 0).mean() > 0.8

    def best(rows: Rows) -> np.ndarray:
        rows = OBJECTIVES.within(LIMIT, rows)
        return rows[front(OBJECTIVES("macs", rows), accuracies(rows))]

    assert best(born[:20]).tolist() != best(born).tolist()
    assert accuracies(best(born)).max() > accuracies(best(born[:20])).max()
