"""NSGA-II (Deb et al., 2002) over the subnets of a space: pymoo's, with sampling, crossover and mutation of our own.

The only file that knows pymoo.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pipeline.predictor.encoding import Encoding, Rows

_MUTATIONS = 2.0  # choices of a child that are drawn anew, on average


class Wanted(NamedTuple):
    """Of N subnets: objectives, which are to be small, and by how much limits are exceeded; up to 0, they are kept."""

    objectives: np.ndarray  # float64 [N, O]
    excesses: np.ndarray  # float64 [N, L]


def evolve(
    encoding: Encoding, wanted: Callable[[Rows], Wanted], size: int, generations: int, seed: int, first: Rows
) -> Rows:
    """Let a population evolve, by pymoo's ask and tell.

    Args:
        wanted: called with the new subnets of each generation, which are different from all that live.
        size: of the population.
        first: subnets to begin with, all different; random ones fill up.

    Returns:
        All different subnets that there were, in the order of their birth: int16 [N, dimensions].
    """
    algorithm, problem = _nsga2(encoding, wanted, size, first)
    algorithm.setup(problem, termination=("n_gen", generations), seed=seed)
    born: dict[bytes, np.ndarray] = {}
    while algorithm.has_next():
        children = algorithm.ask()
        if children is None:  # the space has no more
            break
        algorithm.evaluator.eval(problem, children)
        algorithm.tell(infills=children)
        for row in children.get("X"):
            born.setdefault(row.tobytes(), row)
    return np.array(list(born.values()), np.int16)


def _nsga2(encoding: Encoding, wanted: Callable[[Rows], Wanted], size: int, first: Rows) -> tuple[Any, Any]:
    """The algorithm and the problem that it is to solve. pymoo is imported here, which takes a second."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.config import Config
    from pymoo.core.crossover import Crossover
    from pymoo.core.duplicate import DuplicateElimination
    from pymoo.core.mutation import Mutation
    from pymoo.core.problem import Problem
    from pymoo.core.sampling import Sampling

    Config.warnings["not_compiled"] = False  # what it would print; speed is no matter here
    columns = len(encoding.counts)
    rate = min(_MUTATIONS / columns, 0.5)

    class Task(Problem):
        def _evaluate(self, x: Rows, out: dict[str, Any], *_: Any, **__: Any) -> None:
            out["F"], out["G"] = wanted(x)

    class FirstThenRandom(Sampling):
        def _do(self, problem: Any, n_samples: int, *_: Any, random_state: Any = None, **__: Any) -> Rows:
            return np.concatenate([first, encoding.sample(n_samples, random_state)])[:n_samples]

    class Uniform(Crossover):
        """Each choice of one parent or of the other."""

        def _do(self, _: Any, X: np.ndarray, *__: Any, random_state: Any = None, **___: Any) -> np.ndarray:
            exchanged = random_state.random(X.shape[1:]) < 0.5
            children = np.where(exchanged, X, X[::-1])
            return encoding.canonical(children.reshape(-1, columns)).reshape(children.shape)

    class DrawnAnew(Mutation):
        def _do(self, problem: Any, X: Rows, *_: Any, random_state: Any = None, **__: Any) -> Rows:
            drawn = random_state.integers(0, encoding.counts, X.shape)
            return encoding.canonical(np.where(random_state.random(X.shape) < rate, drawn, X))

    class SameRow(DuplicateElimination):
        def _do(self, pop: Any, other: Any, is_duplicate: np.ndarray) -> np.ndarray:
            seen = {row.tobytes() for row in other.get("X")} if other is not None else set[bytes]()
            for index, row in enumerate(pop.get("X")):
                is_duplicate[index] = row.tobytes() in seen
                seen.add(row.tobytes())
            return is_duplicate

    objectives, excesses = wanted(first)
    problem = Task(
        n_var=columns,
        n_obj=objectives.shape[1],
        n_ieq_constr=excesses.shape[1],
        xl=0,
        xu=encoding.counts - 1,
        vtype=int,
    )
    operators: Any = {
        "sampling": FirstThenRandom(),
        "crossover": Uniform(n_parents=2, n_offsprings=2),
        "mutation": DrawnAnew(),
        "eliminate_duplicates": SameRow(),
    }
    return NSGA2(pop_size=size, **operators), problem
