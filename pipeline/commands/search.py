"""`deps search`: the most accurate subnets of a trained supernet at their cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_shards.open_data import Data, open_data
from data_shards.store.regular_file import read_regular
from pipeline.commands.artifacts import attach, is_tracked
from pipeline.commands.dealing import Dealer, Measure
from pipeline.console.tables import print_json, print_table
from pipeline.errors import UsageError
from pipeline.evaluation.evaluate import AT_ONCE, Evaluator
from pipeline.evaluation.room import room_for_images
from pipeline.extras import check_installed
from pipeline.files.json_file import write_json
from pipeline.files.whole_file import Digest
from pipeline.latency.reading import read_latencies
from pipeline.latency.table import Latencies
from pipeline.predictor.encoding import Encoding
from pipeline.predictor.fit import fit
from pipeline.processes.group import Processes, launched_processes
from pipeline.processes.shared_memory import fit_readers
from pipeline.recipe.recipe import Recipe
from pipeline.reports.front_plot import front_plot
from pipeline.run.folder import check_data, read_recipe
from pipeline.run.layout import FRONT, FRONT_PLOT, PREDICTOR, SEARCH
from pipeline.search.evaluations import Evaluations, Images
from pipeline.search.front import front
from pipeline.search.objectives import MEASURES, Objectives
from pipeline.search.rounds import Evaluated, Search, search
from pipeline.supernet.store import digest_of, load_supernet, load_weights
from pipeline.supernet.supernet import Supernet

_DRAWN = 1000  # random subnets, of whose measures the profile shows the median

_TOP1_COLUMNS = {
    "validation_top1": ("validation top-1 %", ".2f"),
    "test_top1": ("test top-1 %", ".2f"),
}
_PROFILE_COLUMNS = {
    "measure": ("measure", ""),
    "least": ("least", ","),
    "middle": ("median of random ones", ","),
    "greatest": ("greatest", ","),
}


class _Opened(NamedTuple):
    """A run whose supernet is to be searched."""

    folder: Path
    recipe: Recipe
    supernet: Supernet
    objectives: Objectives
    data: Data


def search_run(folder: Path, asked: Search, table: Path | None = None) -> dict[str, Any] | None:
    """Search, write what was found into `search/` of the run's folder, and return what `front.json` holds.

    All processes of a launcher call it together; None on others than the main one.

    Args:
        table: of latencies, which are a measure then.

    Raises:
        UsageError: where `folder` is no finished run, has no validation images, or a limit cannot be kept; or the table
            is none of its space.
    """
    run = _open(folder, asked, table)
    if table is not None:
        asked = replace(asked, table=Digest.of(read_regular(table)).sha256[:12])
    with launched_processes() as processes:
        dealer = Dealer(processes, _measure(run, processes), AT_ONCE)
        place = folder / SEARCH

        def keep() -> Evaluations | None:
            return Evaluations(place, digest_of(folder), str(asked)) if processes.is_main else None

        kept = processes.together(keep)
        if kept is None:
            dealer.serve()
            return None
        with kept:
            found, content = _search(run, asked, dealer, kept)
            dealer.end()
    predictor = fit(run.objectives.encoding, *found)
    content["predictor"] = {"error_points": predictor.error, "rank_correlation": predictor.rank_correlation}
    predictor.written(run.recipe.space.network, content["validation_images"]).write(place / PREDICTOR)
    write_json(place / FRONT, content)
    _draw(place / FRONT_PLOT, run, asked, found, content)
    if is_tracked(folder):
        attach(folder, [place / name for name in (FRONT, FRONT_PLOT, PREDICTOR)], SEARCH)
    return content


def print_search(folder: Path, asked: Search, table: Path | None, as_json: bool) -> None:
    """Search and print the front; see `search_run`."""
    content = search_run(folder, asked, table)
    if content is None:
        return
    if as_json:
        print_json(content)
        return
    rows = [{**row, "label": row["subnet"]} for row in content["front"]]
    uniform = [{**row, "label": f"{row['subnet']} (uniform)"} for row in content["uniform"]]
    measures = {each.key: (each.words, f",.{each.digits}f") for each in MEASURES.values() if each.key in rows[0]}
    columns = {"label": ("subnet", ""), **measures, **_TOP1_COLUMNS}
    print_table(f"{folder}: {asked}; batch norm recalibrated for each subnet", [*rows, *uniform], columns)
    predictor = content["predictor"]
    print(
        f"{content['measured']} subnets measured on {content['validation_images']} validation images; predicted while "
        f"left out of the fit: error {predictor['error_points']:.2f} points (root mean square), rank correlation "
        f"{predictor['rank_correlation']:.2f}"
    )
    print(f"Kept: {folder / SEARCH / FRONT}, {folder / SEARCH / FRONT_PLOT}")


def print_profile(folder: Path, table: Path | None, as_json: bool) -> None:
    """Print the least, middle and greatest value of each measure, and the number of subnets."""
    space, _ = load_weights(folder)
    encoding = Encoding(space)
    objectives = Objectives(encoding, _latencies(table))
    drawn = encoding.sample(_DRAWN, np.random.default_rng(0))
    rows = []
    for name in objectives.names:
        least, greatest = objectives.ends(name)
        values = {"least": least, "middle": float(np.median(objectives(name, drawn))), "greatest": greatest}
        measure = MEASURES[name]
        rows.append(
            {"name": name, "measure": measure.words, **{key: measure.written(value) for key, value in values.items()}}
        )
    if as_json:
        print_json({"subnets": encoding.size(), "measures": rows})
        return
    print_table(f"{folder}: what --limit and --against can say", rows, _PROFILE_COLUMNS)
    print(f"{encoding.size():,} subnets")


def _latencies(table: Path | None) -> Latencies | None:
    return None if table is None else read_latencies(table)[0]


def _open(folder: Path, asked: Search, table: Path | None) -> _Opened:
    """The run; every refusal comes before anything is measured."""
    check_installed("search", "deploy", "pymoo")
    recipe = read_recipe(folder)
    if not recipe.data.validation_samples:
        raise UsageError(
            f"{folder}: was trained without validation images, and what is chosen on the test split cannot be reported "
            "on it; train with data.validation_samples=…"
        )
    supernet = load_supernet(folder)
    objectives = Objectives(Encoding(supernet.space), _latencies(table))
    if supernet.space.largest() == supernet.space.smallest():
        raise UsageError(f"{folder}: has one subnet; there is nothing to search")
    objectives.check(asked.limits)
    data = open_data(recipe.data)
    check_data(folder, {split.name: split.entry.index_sha256 for split in (data.train, data.test)}, recipe.data.shards)
    return _Opened(folder, recipe, supernet, objectives, data)


def _measure(run: _Opened, processes: Processes) -> Measure:
    """Measures subnets on this process alone. Images are opened when they are first asked for."""
    space, config = run.supernet.space, run.recipe.evaluation
    run.supernet.to(processes.device)
    batches = [(config.batch_size, max(space.image_sides))]
    data = fit_readers(run.recipe.data, run.data.train, batches, processes)
    room = room_for_images(space, config.batch_size, processes)
    alone = Processes(0, 1, processes.device)
    splits = {"validation": run.data.validation, "test": run.data.test}
    evaluators: dict[str, Evaluator] = {}

    def measure(images: str, subnets: Sequence[str]) -> list[float]:
        if images not in evaluators:
            evaluators.clear()  # the images that the other one keeps
            split = splits[images]
            assert split is not None
            evaluators[images] = Evaluator(run.data.train, split, data, config, alone, room)
        return [each.top1 for each in evaluators[images].subnets(run.supernet, [space.parse(each) for each in subnets])]

    return measure


def _search(run: _Opened, asked: Search, dealer: Dealer, kept: Evaluations) -> tuple[Evaluated, dict[str, Any]]:
    """On the main process: all that is known in the end, and what `front.json` tells of it."""
    objectives, encoding, space = run.objectives, run.objectives.encoding, run.supernet.space
    before = kept.before()
    rows = encoding.encode([space.parse(subnet) for subnet in before])
    with _progress() as bar:
        task = bar.add_task("searching", total=max(asked.evaluations - kept.own(), 0))

        def measured(images: Images, subnets: Sequence[str]) -> list[float]:
            known = kept.measured(images)
            for subnet, top1 in dealer.deal(images, [each for each in subnets if each not in known]):
                kept.add(images, subnet, top1)
                bar.update(task, advance=1, description=f"{images} {subnet}")
            known = kept.measured(images)
            return [known[subnet] for subnet in subnets]

        def measure(proposed: np.ndarray) -> np.ndarray:
            return np.array(measured("validation", [str(encoding.decode(row)) for row in proposed]))

        known = Evaluated(rows, np.array(list(before.values()), np.float64))
        found = search(asked, objectives, measure, known)
        within = (objectives.excesses(asked.limits, found.rows) <= 0).all(axis=1)
        inside = Evaluated(found.rows[within], found.accuracies[within])
        best = inside.rows[front(objectives(asked.against, inside.rows), inside.accuracies)]
        uniform = encoding.encode([subnet for _, subnet in space.pareto_row()])
        measured_rows = {row.tobytes() for row in inside.rows}
        uniform = uniform[[row.tobytes() in measured_rows for row in uniform]]
        new = set(map(str, map(encoding.decode, (*best, *uniform)))) - kept.measured("test").keys()
        bar.update(task, total=bar.tasks[task].completed + len(new))

        def described(chosen: np.ndarray) -> list[dict[str, Any]]:
            subnets = [str(encoding.decode(row)) for row in chosen]
            measures = {
                MEASURES[name].key: list(map(MEASURES[name].written, objectives(name, chosen).tolist()))
                for name in objectives.names
            }
            columns = {
                "subnet": subnets,
                **measures,
                "validation_top1": measured("validation", subnets),
                "test_top1": measured("test", subnets),
            }
            return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

        assert run.data.validation is not None
        content = {
            "against": asked.against,
            "limits": dict(asked.limits),
            "evaluations": asked.evaluations,
            "seed": asked.seed,
            "measured": len(found.rows),
            **({} if objectives.latencies is None else {"latency": objectives.latencies.source}),
            "validation_images": len(run.data.validation),
            "test_images": len(run.data.test),
            "front": described(best),
            "uniform": described(uniform),
        }
    return found, content


def _draw(path: Path, run: _Opened, asked: Search, found: Evaluated, content: dict[str, Any]) -> None:
    measure = MEASURES[asked.against]
    lines = {
        line: [{**row, "cost": row[measure.key]} for row in content[key]]
        for line, key in (("searched", "front"), ("uniform", "uniform"))
    }
    costs = run.objectives(asked.against, found.rows)
    title = f"{run.recipe.name}: {content['measured']} subnets of {run.objectives.encoding.size():.2g}"
    front_plot(path, title, measure.words, (costs.tolist(), found.accuracies.tolist()), lines)


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar with the time that is left."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield bar
