"""Paired differences: the same seeds of two entrants, the mean of their differences, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
NO_DIFFERENCE = "no difference shown"


@dataclass(frozen=True)
class Difference:
    """The mean over `n` seeds of one entrant's figure less another's.

    Attributes:
        interval: of the mean, with 95 % confidence; None where there is none: of one seed, and where all seeds differ
            by the same, which tells nothing of how much others would.
    """

    mean: float
    n: int
    interval: tuple[float, float] | None

    @property
    def is_shown(self) -> bool:
        """Whether the interval excludes zero."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]

    @property
    def verdict(self) -> str:
        """In words, which only claim what the interval shows."""
        if self.interval is None:
            return "one seed: no interval" if self.n == 1 else NO_DIFFERENCE
        if not self.is_shown:
            return NO_DIFFERENCE
        low, high = sorted(map(abs, self.interval))
        word = "above" if self.mean > 0 else "below"
        return f"{word} by {abs(self.mean):.2f} points ({low:.2f} … {high:.2f})"


def paired(ours: Mapping[int, float | None], theirs: Mapping[int, float | None]) -> Difference | None:
    """The difference over the seeds that both have a figure of; None where there are none.

    The interval is Student's: mean ± t(0.975, n − 1) · s / √n, of differences taken to be normally distributed.

    Args:
        ours, theirs: a figure by seed.
    """
    seeds = [seed for seed in ours if ours[seed] is not None and theirs.get(seed) is not None]
    differences = np.array([ours[seed] - theirs[seed] for seed in seeds], dtype=float)  # pyright: ignore
    if not differences.size:
        return None
    mean, n = float(differences.mean()), len(seeds)
    deviation = float(differences.std(ddof=1)) if n > 1 else 0.0
    # Equal differences are equal only to what rounding leaves of them.
    if deviation <= 1e-9 * max(1.0, abs(mean)):
        return Difference(mean, n, None)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / math.sqrt(n)
    return Difference(mean, n, (mean - half, mean + half))
