"""Timing in rounds, which a busy machine does not spoil: each round times everything once, in an order of its own.

So whatever goes on at a time falls on all alike. Of each, the time counts that a tenth of the rounds are below. Others
on the machine only ever make a run slower, so low times are those of the machine when it is left alone, while a median
tells how busy it was; and a tenth, unlike the least, is no single run's luck. Rounds go on until these times are known
well enough, by confidence intervals that follow from the order of the runs alone, whatever the noise is like.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import RunFailure

_QUANTILE = 0.1


@dataclass(frozen=True)
class StopRule:
    """When there are rounds enough.

    Attributes:
        wanted: half of a 95 % confidence interval, as a share of the time, in the mean of all that is timed, weighted
            by time. Errors of single pieces partly cancel in a sum, which is known better than this.
        usable: what is good enough after the most rounds.
        least, most: rounds.
    """

    wanted: float = 0.02
    usable: float = 0.05
    least: int = 30
    most: int = 300


@dataclass(frozen=True)
class Timed:
    """Of N things that were timed.

    Attributes:
        seconds: that a tenth of the runs are below: float64 [N].
        uncertainties: half of each 95 % confidence interval, seconds: float64 [N].
        rounds: how many there were.
    """

    seconds: np.ndarray
    uncertainties: np.ndarray
    rounds: int

    @property
    def noise(self) -> float:
        """See `StopRule.wanted`."""
        return float(self.uncertainties.sum() / self.seconds.sum())


def time_in_rounds(
    runs: Sequence[Callable[[], float]],
    rule: StopRule,
    known: Sequence[Sequence[float]],
    keep: Callable[[list[float]], None],
    advance: Callable[[int, int], None],
) -> Timed:
    """Time all `runs`, each of which runs something and returns the seconds it took.

    Args:
        known: rounds that were there before, each with the seconds of every run.
        keep: called with those of each new round.
        advance: called with the number of rounds that there are, and how many there will probably be.

    Raises:
        RunFailure: where the noise is beyond use.
    """
    rounds = [list(each) for each in known]
    generator = np.random.default_rng(len(rounds))
    while True:
        timed = _timed(np.array(rounds)) if len(rounds) >= rule.least else None
        if timed is not None and (timed.noise <= rule.wanted or timed.rounds >= rule.most):
            break
        advance(len(rounds), _expected(timed, rule))
        seconds = [0.0] * len(runs)
        for place in generator.permutation(len(runs)):
            seconds[place] = runs[place]()
        keep(seconds)
        rounds.append(seconds)
    if timed.noise > rule.usable:
        raise RunFailure(
            f"the machine is too busy to time anything: after {timed.rounds} rounds, times are known to ±"
            f"{timed.noise:.1%}, and ±{rule.usable:.0%} are needed; let other programs end first"
        )
    return timed


def _timed(seconds: np.ndarray) -> Timed:
    """Quantiles of rounds [R, N], with the order statistics that each true one is between by 95 %."""
    count = len(seconds)
    ordered = np.sort(seconds, axis=0)
    reach = 1.96 * math.sqrt(count * _QUANTILE * (1 - _QUANTILE))  # binomial: how many runs are below the true one
    place = count * _QUANTILE
    low, high = max(math.floor(place - reach), 0), min(math.ceil(place + reach), count - 1)
    return Timed(np.quantile(seconds, _QUANTILE, axis=0), (ordered[high] - ordered[low]) / 2, count)


def _expected(timed: Timed | None, rule: StopRule) -> int:
    """Rounds that there will probably be: intervals shrink with the root of their number."""
    if timed is None:
        return rule.least
    needed = timed.rounds * (timed.noise / rule.wanted) ** 2
    return int(min(max(needed, timed.rounds + 1), rule.most))
