"""Paired differences: against sums by hand and SciPy's own test; words only for what the interval shows."""

import numpy as np
import pytest
from scipy import stats

from pipeline.comparison.statistics import NO_DIFFERENCE, Difference, paired


def by_seed(*values: float | None) -> dict[int, float | None]:
    return dict(enumerate(values))


def test_the_interval_is_students_by_hand() -> None:
    # Differences 1, 2, 3: mean 2, s = 1, t(0.975, 2) = 4.302653, so 2 ± 4.302653 / √3.
    found = paired(by_seed(91.0, 93.0, 95.0), by_seed(90.0, 91.0, 92.0))
    assert found is not None
    assert (found.mean, found.n) == (2.0, 3)
    assert found.interval == pytest.approx((2 - 2.484138, 2 + 2.484138), abs=1e-5)


@pytest.mark.parametrize("n", [2, 5, 30])
def test_the_interval_is_that_of_scipys_paired_test(n: int) -> None:
    ours, theirs = np.random.default_rng(n).normal(90, 3, (2, n))
    found = paired(by_seed(*ours), by_seed(*theirs))
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert found is not None
    assert found.interval == pytest.approx((expected.low, expected.high))
    assert found.is_shown == (stats.ttest_rel(ours, theirs).pvalue < 0.05)


def test_only_seeds_of_both_count_and_they_are_paired() -> None:
    found = paired({3: 10.0, 1: 20.0, 2: None, 7: 99.0}, {1: 19.0, 2: 5.0, 3: 7.0})
    assert found is not None
    assert (found.mean, found.n) == (2.0, 2)
    assert paired({1: 20.0}, {2: 20.0}) is None


def test_the_interval_holds_the_true_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    found = [paired(by_seed(*generator.normal(1.0, 2.0, 4)), by_seed(0.0, 0.0, 0.0, 0.0)) for _ in range(2000)]
    held = [each.interval[0] <= 1.0 <= each.interval[1] for each in found if each and each.interval]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (Difference(1.3, 5, (0.4, 2.2)), "above by 1.30 points (0.40 … 2.20)"),
        (Difference(-1.3, 5, (-2.2, -0.4)), "below by 1.30 points (0.40 … 2.20)"),
        (Difference(1.3, 5, (-0.01, 2.61)), NO_DIFFERENCE),
        (Difference(1.3, 5, (0.0, 2.6)), NO_DIFFERENCE),
        (Difference(9.0, 1, None), "one seed: no interval"),
    ],
)
def test_words_claim_only_what_the_interval_shows(difference: Difference, words: str) -> None:
    assert difference.verdict == words


def test_one_seed_and_equal_differences_have_no_interval() -> None:
    one, equal = paired(by_seed(91.0), by_seed(90.0)), paired(by_seed(90.3, 91.3), by_seed(90.1, 91.1))
    assert one is not None
    assert equal is not None
    assert (one.interval, one.is_shown) == (None, False)
    assert (equal.interval, equal.verdict) == (None, NO_DIFFERENCE)
