"""Timing in rounds: what counts, when it ends, what a busy machine may do to it, and how one that was ended goes on."""

import numpy as np
import pytest

from pipeline.errors import RunFailure
from pipeline.latency.rounds import StopRule, time_in_rounds

RULE = StopRule(wanted=0.01, usable=0.05, least=30, most=300)


class Machine:
    """Runs that take `seconds`, as far as others on the machine let them."""

    def __init__(self, *seconds: float, noise: float, seed: int = 0) -> None:
        self.order: list[int] = []
        self.kept: list[list[float]] = []
        self._seconds, self._noise = seconds, noise
        self._generator = np.random.default_rng(seed)

    def runs(self):
        def run(index: int) -> float:
            self.order.append(index)
            slower = 1 + self._noise * self._generator.exponential()
            if self._generator.random() < 0.4:  # others are at work
                slower *= 2.5
            return self._seconds[index] * slower

        return [lambda index=index: run(index) for index in range(len(self._seconds))]

    def time(self, rule: StopRule = RULE, known: list[list[float]] | None = None):
        self.expected: list[tuple[int, int]] = []
        return time_in_rounds(
            self.runs(), rule, known or [], self.kept.append, lambda done, total: self.expected.append((done, total))
        )


def test_times_are_those_of_a_machine_that_is_left_alone() -> None:
    seconds = np.array([0.001, 0.004, 0.00002])
    timed = Machine(*seconds, noise=0.02).time()
    np.testing.assert_allclose(timed.seconds, seconds, rtol=0.01)
    assert timed.noise <= RULE.wanted


def test_a_round_times_everything_once_in_an_order_of_its_own() -> None:
    machine = Machine(1.0, 2.0, 3.0, 4.0, noise=0.0)
    timed = machine.time()
    rounds = np.array(machine.order).reshape(timed.rounds, 4)
    assert (np.sort(rounds, axis=1) == np.arange(4)).all()
    assert len({tuple(each) for each in rounds}) > 10
    for kept, order in zip(machine.kept, rounds, strict=True):
        assert sorted(np.argsort(order)) == [0, 1, 2, 3]
        assert all(value in (place + 1.0, (place + 1) * 2.5) for place, value in enumerate(kept))


def test_more_noise_takes_more_rounds() -> None:
    few, more = (Machine(1.0, 2.0, noise=noise).time(StopRule(usable=0.2)).rounds for noise in (0.001, 0.15))
    assert RULE.least <= few < more <= RULE.most


def test_the_end_that_is_expected_comes_nearer() -> None:
    machine = Machine(1.0, 2.0, noise=0.05)
    timed = machine.time()
    assert [done for done, _ in machine.expected] == list(range(timed.rounds))
    assert machine.expected[0] == (0, RULE.least)
    assert all(done < total <= RULE.most for done, total in machine.expected)


def test_noise_beyond_use_is_refused_in_a_line() -> None:
    machine = Machine(1.0, 2.0, noise=3.0)
    with pytest.raises(RunFailure, match=r"too busy to time anything: after 300 rounds, times are known to ±\d+\.\d%"):
        machine.time()
    assert len(machine.kept) == RULE.most


def test_rounds_that_were_kept_count() -> None:
    machine = Machine(1.0, 2.0, noise=0.02)
    whole = machine.time()
    for split in (1, RULE.least, whole.rounds):
        other = Machine(1.0, 2.0, noise=0.02)
        again = other.time(known=machine.kept[:split])
        assert again.rounds - len(other.kept) == split
    assert (again.seconds == whole.seconds).all()
    assert not other.order


def test_an_interval_holds_the_true_time_as_often_as_it_says() -> None:
    """By very many draws of one run, whose true tenth percentile is known: of an exponential, -ln 0.9."""
    hits = 0
    for seed in range(400):
        draws = np.random.default_rng(seed).exponential(size=60).tolist()
        values = iter(draws)
        timed = time_in_rounds(
            [lambda values=values: next(values)], StopRule(least=60, most=60, usable=9.0), [], lambda _: None,
            lambda *_: None,
        )  # fmt: skip
        ordered = np.sort(draws)
        low, high = ordered[1], ordered[11]
        assert timed.uncertainties[0] == pytest.approx((high - low) / 2)
        hits += low <= -np.log(0.9) <= high
    assert 0.93 < hits / 400 < 1
