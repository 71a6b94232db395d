"""The front: subnets of which none other is as accurate at no higher cost; and what further ones would add to it."""

from __future__ import annotations

import numpy as np


def front(costs: np.ndarray, accuracies: np.ndarray) -> np.ndarray:
    """Indices of the front, by rising cost: of equal ones the first.

    Args:
        costs, accuracies: float64 [N].
    """
    order = np.lexsort((np.arange(len(costs)), -accuracies, costs))
    highest = np.maximum.accumulate(accuracies[order])
    rises = np.diff(highest, prepend=-np.inf) > 0
    return order[rises]


def hypervolume(costs: np.ndarray, accuracies: np.ndarray, most: float, least: float) -> float:
    """The area between a front and its corner: cost `most`, accuracy `least`; in units of both.

    Whatever is beyond the corner counts nothing.
    """
    inside = (costs < most) & (accuracies > least)
    costs, accuracies = costs[inside], accuracies[inside]
    chosen = front(costs, accuracies)
    heights = np.diff(accuracies[chosen], prepend=least)
    return float(((most - costs[chosen]) * heights).sum())


def spread(
    costs: np.ndarray, accuracies: np.ndarray, known: tuple[np.ndarray, np.ndarray], wanted: int, most: float
) -> list[int]:
    """Candidates that together add the most to the hypervolume of what is known, chosen one after the other.

    Args:
        costs, accuracies: of the candidates, as predicted: float64 [N].
        known: costs and accuracies of measured subnets; the corner has the lowest accuracy among them.
        wanted: at most as many; fewer where no other would add anything.
        most: cost of the corner.

    Returns:
        Indices, in the order of choice: so fewer wanted are the first of more.
    """
    costs_known, accuracies_known = known
    least = float(accuracies_known.min())
    left, chosen = np.arange(len(costs)), []
    while len(chosen) < wanted:
        gains = _gains(costs[left], accuracies[left], costs_known, accuracies_known, most, least)
        left, gains = left[gains > 0], gains[gains > 0]  # who adds nothing now, never will
        if not len(left):
            break
        best = int(left[gains.argmax()])
        chosen.append(best)
        costs_known = np.append(costs_known, costs[best])
        accuracies_known = np.append(accuracies_known, accuracies[best])
    return chosen


def _gains(
    costs: np.ndarray, accuracies: np.ndarray, costs_known: np.ndarray, accuracies_known: np.ndarray,
    most: float, least: float,
) -> np.ndarray:  # fmt: skip
    """What each candidate by itself would add to the hypervolume of the known: float64 [N]."""
    steps = front(costs_known, accuracies_known)
    # Between two ends, subnets of at most that cost reach a level.
    ends = np.concatenate([[-np.inf], np.minimum(costs_known[steps], most), [most]])
    levels = np.concatenate([[least], accuracies_known[steps]])
    widths = np.clip(ends[1:] - np.maximum(ends[:-1], costs[:, None]), 0, None)  # [N, steps]
    heights = np.clip(accuracies[:, None] - levels, 0, None)
    return (widths * heights).sum(axis=1)
