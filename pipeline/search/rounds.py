"""The search: rounds of measured subnets, each chosen by a predictor that is fitted to all measured before it.

As in LINAS (Cummings et al., 2022), NSGA-II runs on predictions, which cost nothing; what is measured is spread over
the front that it finds, by what each subnet is predicted to add to the hypervolume.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pipeline.predictor.encoding import Rows
from pipeline.predictor.fit import fit
from pipeline.search.evolution import Wanted, evolve
from pipeline.search.front import front, spread
from pipeline.search.objectives import MEASURES, Objectives

_FIRST, _OTHERS = 5, 10  # the first round is a fifth of all evaluations, each further one a tenth
_POPULATION, _GENERATIONS = 200, 25  # of the evolution on predictions
_DRAWN = 100  # random subnets per one of the first round, until there are enough within limits


class Evaluated(NamedTuple):
    """Different subnets, and their measured top-1, per cent: int16 [N, dimensions], float64 [N]."""

    rows: Rows
    accuracies: np.ndarray


@dataclass(frozen=True)
class Search:
    """What is searched for.

    Attributes:
        against: the measure that accuracy is weighed against.
        limits: greatest values by measure.
        evaluations: how many subnets are measured.
        seed: of all that is drawn: with the same known subnets, the same ones are proposed.
        table: what tells the latency table from others, where there is one.
    """

    against: str
    limits: Mapping[str, float] = field(default_factory=dict)
    evaluations: int = 250
    seed: int = 0
    table: str | None = None

    def __str__(self) -> str:
        told = {name: MEASURES[name].with_unit(limit) for name, limit in sorted(self.limits.items())}
        limits = "".join(f", {name} up to {limit}" for name, limit in told.items())
        table = f", latency by {self.table}" if self.table else ""
        return f"{self.evaluations} evaluations against {self.against}{limits}, seed {self.seed}{table}"


def search(
    asked: Search,
    objectives: Objectives,
    measure: Callable[[Rows], np.ndarray],
    known: Evaluated | None = None,
) -> Evaluated:
    """Search the space of `objectives`.

    The first round is the row of uniform subnets, smallest and largest among them, and random ones.

    Args:
        measure: top-1 of a round's subnets, per cent: float64 [N]. It gets no subnet twice, and none that is known.
        known: measured before; they are not among the `evaluations`.

    Returns:
        All that is known in the end, `known` first.
    """
    encoding = objectives.encoding
    found = known or Evaluated(np.zeros((0, len(encoding.counts)), np.int16), np.zeros(0))
    end, number = len(found.rows) + asked.evaluations, 0
    while len(found.rows) < end:
        if number == 0:
            size = -(-asked.evaluations // _FIRST)
            rows = _first_round(asked, objectives, found.rows, max(size - len(found.rows), 0))
        else:
            size = min(-(-asked.evaluations // _OTHERS), end - len(found.rows))
            rows = _proposals(asked, objectives, found, size, number)
        if number > 0 and not len(rows):  # all subnets within the limits are known
            break
        if len(rows):
            found = Evaluated(np.concatenate([found.rows, rows]), np.concatenate([found.accuracies, measure(rows)]))
        number += 1
    return found


def _first_round(asked: Search, objectives: Objectives, known: Rows, size: int) -> Rows:
    """Smallest and largest, the rest of the row of uniform subnets, and random ones up to `size`."""
    encoding = objectives.encoding
    space = encoding.space
    ends = encoding.encode([space.smallest(), space.largest()])
    row = encoding.encode([subnet for _, subnet in space.pareto_row()])
    named = _without(np.concatenate([ends, objectives.within(asked.limits, row)]), known)
    drawn = encoding.sample_spread(size * _DRAWN, np.random.default_rng(asked.seed))
    rows = _without(np.concatenate([named, objectives.within(asked.limits, drawn)]), known)
    return rows[: min(max(size, len(named)), asked.evaluations)]


def _proposals(asked: Search, objectives: Objectives, found: Evaluated, size: int, number: int) -> Rows:
    """Subnets that are predicted to add the most to the front; where there are not so many, random ones."""
    encoding, limits = objectives.encoding, asked.limits
    predictor = fit(encoding, *found)
    costs = objectives(asked.against, found.rows)

    def wanted(rows: Rows) -> Wanted:
        pair = (objectives(asked.against, rows), -predictor(rows))
        return Wanted(np.stack(pair, axis=1), objectives.excesses(limits, rows))

    seed = int(np.random.SeedSequence([asked.seed, number]).generate_state(1)[0])
    drawn = encoding.sample_spread(size * _DRAWN, np.random.default_rng(seed))
    drawn = objectives.within(limits, _without(drawn, found.rows))
    if encoding.size() <= _POPULATION * _GENERATIONS:  # no more than an evolution would try
        tried = encoding.every()
    else:
        best = found.rows[front(costs, found.accuracies)][: _POPULATION // 2]
        first = np.concatenate([best, drawn])[:_POPULATION]
        tried = evolve(encoding, wanted, _POPULATION, _GENERATIONS, seed, first)
    tried = objectives.within(limits, _without(tried, found.rows))
    most = objectives.ends(asked.against)[1]
    chosen = spread(objectives(asked.against, tried), predictor(tried), (costs, found.accuracies), size, most)
    return _without(np.concatenate([tried[chosen], drawn]), found.rows)[:size]


def _without(rows: Rows, known: Rows) -> Rows:
    """The different ones of `rows`, in their order, that are not known."""
    seen = {row.tobytes() for row in known}
    new: list[np.ndarray] = []
    for row in rows:
        if row.tobytes() not in seen:
            seen.add(row.tobytes())
            new.append(row)
    return np.array(new, np.int16).reshape(len(new), rows.shape[1])
