"""The front and its hypervolume, against their definitions tried out on every point."""

import itertools

import numpy as np
import pytest

from pipeline.search.front import front, hypervolume, spread


def points(seed: int, count: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers, so that many are equal."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 12, count).astype(float), generator.integers(50, 62, count).astype(float)


def cells(costs: np.ndarray, accuracies: np.ndarray, most: int, least: int) -> int:
    """How many squares of side 1 some point dominates."""
    grid = itertools.product(range(most), range(least, 70))
    return sum(bool(((costs <= x) & (accuracies >= y + 1)).any()) for x, y in grid)


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_what_nothing_dominates(seed: int) -> None:
    costs, accuracies = points(seed)
    found = front(costs, accuracies)
    better = [
        any((c <= cost and a >= top) and (c, a) != (cost, top) for c, a in zip(costs, accuracies, strict=True))
        for cost, top in zip(costs, accuracies, strict=True)
    ]
    expected = {(costs[index], accuracies[index]) for index in range(len(costs)) if not better[index]}
    assert [(costs[index], accuracies[index]) for index in found] == sorted(expected)


@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_is_the_number_of_dominated_cells(seed: int) -> None:
    costs, accuracies = points(seed)
    assert hypervolume(costs, accuracies, 10, 52) == cells(costs, accuracies, 10, 52)


def test_hypervolume_of_nothing_inside_is_none() -> None:
    assert hypervolume(np.array([5.0]), np.array([60.0]), 5, 50) == 0


@pytest.mark.parametrize("seed", range(5))
def test_candidates_are_taken_by_what_they_add_to_the_hypervolume(seed: int) -> None:
    costs, accuracies = points(seed)
    known_costs, known = points(seed + 100, 6)
    chosen = spread(costs, accuracies, (known_costs, known), 4, 12)
    for count, index in enumerate(chosen):
        before = np.array(chosen[:count], int)
        here = np.concatenate([known_costs, costs[before]]), np.concatenate([known, accuracies[before]])

        def with_one(one: int, here: tuple[np.ndarray, np.ndarray] = here) -> float:
            return hypervolume(np.append(here[0], costs[one]), np.append(here[1], accuracies[one]), 12, known.min())

        assert with_one(index) == max(map(with_one, range(len(costs)))) > hypervolume(*here, 12, known.min())
    assert spread(costs, accuracies, (known_costs, known), 2, 12) == chosen[:2]


def test_what_adds_nothing_is_not_taken() -> None:
    known = np.array([1.0]), np.array([60.0])
    assert spread(np.array([2.0, 1.0]), np.array([59.0, 60.0]), known, 5, 12) == []
