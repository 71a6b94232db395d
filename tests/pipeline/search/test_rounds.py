"""Searches of the digits' space whose accuracies are a formula: all 1764 subnets can be tried."""

import numpy as np
import pytest

from pipeline.errors import UsageError
from pipeline.predictor.encoding import Encoding, Rows
from pipeline.predictor.features import Features
from pipeline.search.front import hypervolume
from pipeline.search.objectives import Objectives, check_measure, parse_limits
from pipeline.search.rounds import Evaluated, Search, search
from pipeline.supernet.networks import NETWORKS

SPACE = NETWORKS["mobilenet_v3_digits"]
ENCODING = Encoding(SPACE)
OBJECTIVES = Objectives(ENCODING)
LEAST, GREATEST = OBJECTIVES.ends("macs")


def formula(rows: Rows) -> np.ndarray:
    """Grows with each sum, ever less, and with a ripple that no predictor of ours knows."""
    sums = Features(ENCODING).sums(rows)
    ripple = np.sin(rows @ np.arange(1, rows.shape[1] + 1))
    return 80 + 3 * np.sqrt(sums) @ np.arange(1, 7) / 6 + 0.05 * ripple


class Measured:
    """The formula; notes what it was asked for, and stops with an error before the round `stops`."""

    def __init__(self, stops: int | None = None) -> None:
        self.rounds: list[Rows] = []
        self.stops = stops

    def __call__(self, rows: Rows) -> np.ndarray:
        if len(self.rounds) == self.stops:
            raise KeyboardInterrupt
        self.rounds.append(rows)
        return formula(rows)


def texts(rows: Rows) -> list[str]:
    return [str(ENCODING.decode(row)) for row in rows]


def test_a_search_measures_as_many_subnets_as_asked_and_none_twice() -> None:
    measured = Measured()
    found = search(Search("macs", evaluations=40), OBJECTIVES, measured)
    asked = np.concatenate(measured.rounds)
    assert len(set(texts(asked))) == len(asked) == 40
    assert np.array_equal(found.rows, asked)
    assert np.array_equal(found.accuracies, formula(asked))
    assert {str(SPACE.smallest()), str(SPACE.largest())} <= set(texts(measured.rounds[0]))
    assert {str(subnet) for _, subnet in SPACE.pareto_row()} <= set(texts(measured.rounds[0]))


def test_a_seed_makes_a_search_and_another_one_another() -> None:
    first, again, other = (search(Search("macs", evaluations=30, seed=seed), OBJECTIVES, formula) for seed in (1, 1, 2))
    assert np.array_equal(first.rows, again.rows)
    assert not np.array_equal(first.rows, other.rows)


def test_it_finds_nearly_the_front_of_all_subnets() -> None:
    rows = ENCODING.every()
    best = hypervolume(OBJECTIVES("macs", rows), formula(rows), 1.01 * GREATEST, 80)
    found = search(Search("macs", evaluations=60), OBJECTIVES, formula)
    ours = hypervolume(OBJECTIVES("macs", found.rows), found.accuracies, 1.01 * GREATEST, 80)
    drawn = ENCODING.sample(60, np.random.default_rng(0))
    random = hypervolume(OBJECTIVES("macs", drawn), formula(drawn), 1.01 * GREATEST, 80)
    assert random < 0.95 * best
    assert ours > 0.985 * best


@pytest.mark.parametrize("against", ["macs", "params"])
def test_limits_are_kept_by_all_but_the_largest(against: str) -> None:
    limits = {"macs": 1.3e6, "params": 90_000.0}
    found = search(Search(against, limits, 40), OBJECTIVES, formula)
    beyond = (OBJECTIVES.excesses(limits, found.rows) > 0).any(axis=1)
    assert texts(found.rows[beyond]) == [str(SPACE.largest())]
    best = found.accuracies[~beyond].max()
    rows = ENCODING.every()
    assert best > formula(OBJECTIVES.within(limits, rows)).max() - 0.1


def test_what_is_known_is_not_measured_again_but_learned_from() -> None:
    known = search(Search("macs", evaluations=30, seed=1), OBJECTIVES, formula)
    measured = Measured()
    found = search(Search("macs", evaluations=20, seed=2), OBJECTIVES, measured, known)
    assert not set(texts(np.concatenate(measured.rounds))) & set(texts(known.rows))
    assert len(found.rows) == 50
    assert np.array_equal(found.rows[:30], known.rows)
    unlike = search(Search("macs", evaluations=20, seed=2), OBJECTIVES, formula)
    assert not set(texts(unlike.rows[:4])) <= set(texts(np.concatenate(measured.rounds)[:4]))


def test_it_ends_where_the_limits_leave_no_more() -> None:
    found = search(Search("macs", {"macs": LEAST}, 10), OBJECTIVES, formula)
    assert texts(found.rows) == [str(SPACE.smallest()), str(SPACE.largest())]


def test_nothing_but_two_subnets_may_be_asked_for() -> None:
    found = search(Search("macs", evaluations=2), OBJECTIVES, formula)
    assert texts(found.rows) == [str(SPACE.smallest()), str(SPACE.largest())]
    nothing = Evaluated(found.rows, found.accuracies)
    assert len(search(Search("macs", evaluations=3), OBJECTIVES, formula, nothing).rows) == 5


def test_limits_are_read_with_their_units() -> None:
    assert parse_limits(["macs=300M", "params=5.5M", "macs=0.2G"]) == {"macs": 2e8, "params": 5.5e6}
    for text in ("macs", "macs=", "macs=-1", "flops=3M", "macs=3T", "macs=0", "macs=1e9", "macs=3 M"):
        with pytest.raises(UsageError, match="is no limit; one looks like macs=300M"):
            parse_limits([text])
    with pytest.raises(UsageError, match="is no measure; legal: macs, params"):
        check_measure("flops", "--against")


def test_a_limit_that_no_subnet_keeps_is_told_with_the_ends() -> None:
    OBJECTIVES.check({"macs": LEAST})
    with pytest.raises(UsageError, match=f"least {LEAST:.0f}, greatest {GREATEST:.0f}"):
        OBJECTIVES.check({"macs": LEAST - 1})
