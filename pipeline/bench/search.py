"""`deps bench search`: fronts after some hundred evaluations, by our search and by others, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.bench.place import PLACE, place, place_line
from pipeline.bench.plots import search_plot
from pipeline.bench.progress import progress
from pipeline.bench.results import keep, results_folder
from pipeline.bench.searching.surrogate import LIMITS, NETWORK, Surrogate, noise, share_of_reference
from pipeline.bench.table import print_figures
from pipeline.console.tables import print_json
from pipeline.extras import check_installed
from pipeline.predictor.encoding import Rows
from pipeline.search.evolution import Wanted, evolve
from pipeline.search.front import front
from pipeline.search.objectives import Objectives
from pipeline.search.rounds import Search, search

_KEPT = Path("pipeline/bench/searching/results")
_NOISE = 0.087  # points: what the formula's published evaluations differ from it by, held out
_PLAIN_POPULATION = 50
_STEP = 25  # evaluations between two points of a curve

# Measured top-1 of subnets, which are new: float64 [N].
_Measure = Callable[[Rows], np.ndarray]
# Subnets in the order in which they are measured, of objectives, `_Measure`, number of evaluations, seed.
_Contender = Callable[[Objectives, _Measure, int, int], Rows]


def _ours(objectives: Objectives, measure: _Measure, evaluations: int, seed: int) -> Rows:
    return search(Search("macs", evaluations=evaluations, seed=seed), objectives, measure).rows


def _plain(objectives: Objectives, measure: _Measure, evaluations: int, seed: int) -> Rows:
    def wanted(rows: Rows) -> Wanted:
        pair = np.stack([objectives("macs", rows), -measure(rows)], axis=1)
        return Wanted(pair, np.zeros((len(rows), 0)))

    none = np.zeros((0, len(objectives.encoding.counts)), np.int16)
    size = min(_PLAIN_POPULATION, evaluations)
    return evolve(objectives.encoding, wanted, size, -(-evaluations // size), seed, none)[:evaluations]


def _random(objectives: Objectives, _: _Measure, evaluations: int, seed: int) -> Rows:
    return objectives.encoding.sample(evaluations, np.random.default_rng(seed))


_OURS = "ours"
# By name: how it searches, and what its measurements are off by.
_CONTENDERS: dict[str, tuple[_Contender, float]] = {
    _OURS: (_ours, 0.0),
    "NSGA-II": (_plain, 0.0),
    "random": (_random, 0.0),
    "ours, with noise": (_ours, _NOISE),
    "NSGA-II, with noise": (_plain, _NOISE),
}

_COLUMNS = {
    "contender": ("contender", ""),
    "hypervolume": ("hypervolume", ".3f"),
    "hypervolume_lowest": ("lowest", ".3f"),
    **{f"top1_at_{limit}m": (f"top-1 % at {limit}M", ".2f") for limit in LIMITS},
    "seconds": ("s per search", ".1f"),
}


def search_benchmark(seeds: int, evaluations: int, advance: Callable[[str], None]) -> dict[str, Any]:
    """Search with each contender and seed.

    Args:
        advance: called with what is done next, `parts` times.
    """
    surrogate = Surrogate()
    objectives = Objectives(surrogate.encoding)
    curves: list[dict[str, Any]] = []
    for name, (contender, deviation) in _CONTENDERS.items():
        for seed in range(seeds):
            advance(f"{name}, seed {seed}")
            curves += _curve(name, contender, deviation, surrogate, objectives, evaluations, seed)
    ends = [row for row in curves if row["evaluations"] == evaluations]
    return {
        "network": NETWORK,
        "evaluations": evaluations,
        "seeds": seeds,
        "noise_points": _NOISE,
        "contenders": [_summary(name, [row for row in ends if row["contender"] == name]) for name in _CONTENDERS],
        "reference": {"hypervolume": 1.0} | {f"top1_at_{limit}m": best for limit, best in LIMITS.items()},
        "curves": curves,
        **place(torch.device("cpu"), ("pymoo", "scikit-learn", "numpy")),
    }


def parts(seeds: int) -> int:
    """How often `search_benchmark` calls `advance`."""
    return len(_CONTENDERS) * seeds


def print_search_benchmark(seeds: int, evaluations: int, output: Path | None, as_json: bool) -> None:
    """Search, print, and keep as CSV and SVG.

    Raises:
        UsageError: where pymoo or the folder cannot be had.
    """
    check_installed("search", "deploy", "pymoo")
    folder = results_folder(output, _KEPT)
    with progress(parts(seeds)) as advance:
        found = search_benchmark(seeds, evaluations, advance)
    title = f"Search of OFA's MobileNetV3, accuracies by a formula: {evaluations} evaluations, {seeds} seeds"
    about = {name: found[name] for name in PLACE}
    found["files"] = keep(
        folder, "search", about, found["curves"], lambda path: search_plot(path, title, found["curves"])
    )
    if as_json:
        print_json(found)
        return
    print_figures(title, [*found["contenders"], {"contender": "reference", **found["reference"]}], _COLUMNS)
    ours = found["contenders"][0]
    if gaps := [ours[name] for limit in LIMITS if (name := f"widest_gap_at_{limit}m") in ours]:
        print(
            f"The best that ours found at a limit is at most {max(gaps):.2f} points below the reference's, in any seed."
        )
    print(
        "Hypervolume as a share of that of 30,000 evaluations of NSGA-II (reference); means over seeds, and the lowest."
    )
    print(
        f"The formula is of the kind that our predictor fits: sums over stages and their products. With noise, "
        f"measurements are off by {_NOISE} points, which published ones are from the formula; fronts are chosen by "
        "them, and counted without it."
    )
    print(place_line(about))
    print(f"Kept: {', '.join(found['files'])}")


def _curve(
    name: str,
    contender: _Contender,
    deviation: float,
    surrogate: Surrogate,
    objectives: Objectives,
    evaluations: int,
    seed: int,
) -> list[dict[str, Any]]:
    """The front after so many evaluations, a row for each number of them."""

    def measure(rows: Rows) -> np.ndarray:
        return surrogate(rows) + noise(rows, deviation, seed)

    begun = time.perf_counter()
    rows = contender(objectives, measure, evaluations, seed)
    seconds = time.perf_counter() - begun
    macs, measured, accuracies = objectives("macs", rows), measure(rows), surrogate(rows)
    found = []
    for count in sorted({*range(_STEP, evaluations, _STEP), evaluations}):
        chosen = front(macs[:count], measured[:count])
        best: dict[str, float] = {}
        for limit in LIMITS:
            within = chosen[macs[chosen] <= limit * 1e6]
            best |= {f"top1_at_{limit}m": float(accuracies[each]) for each in within[-1:]}
        volume = share_of_reference(macs[chosen], accuracies[chosen])
        found.append({"contender": name, "seed": seed, "evaluations": count, "hypervolume": volume, **best})
    found[-1]["seconds"] = seconds
    return found


def _summary(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of one contender: means over seeds, the lowest hypervolume, and the widest gaps to the reference."""
    volumes = [row["hypervolume"] for row in rows]
    summary = {"contender": name, "hypervolume": float(np.mean(volumes)), "hypervolume_lowest": min(volumes)}
    for limit, reference in LIMITS.items():
        key = f"top1_at_{limit}m"
        if all(key in row for row in rows):  # else some seed found none so small
            values = [row[key] for row in rows]
            summary |= {key: float(np.mean(values)), f"widest_gap_at_{limit}m": reference - min(values)}
    return {**summary, "seconds": float(np.mean([row["seconds"] for row in rows]))}
