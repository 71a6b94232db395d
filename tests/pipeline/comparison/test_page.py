"""The page: figures of the run folders, and words only where an interval excludes zero."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline.comparison.choice import Choice, Trial
from pipeline.comparison.entrants import Entrant, Variant
from pipeline.comparison.page import write_page
from pipeline.comparison.results import FIGURES, Result, as_json
from pipeline.comparison.seed_run import seed_run_in
from pipeline.comparison.sweep import Sweep
from pipeline.recipe.reading import load_recipe
from pipeline.reports.run_record import ReportError, read_run
from pipeline.reports.summary import Approach
from pipeline.run.layout import EVALUATION, VALIDATION
from tests.pipeline.comparison.stand_ins import evaluated
from tests.pipeline.reports.run_folders import make_run
from tests.pipeline.reports.test_report import rows_of


def a_result(
    folder: Path, label: str, seeds: int, missing: int = 0, gains: Sequence[float] = (), **run: object
) -> Result:
    """An entrant of made-up runs; the last `missing` of its seeds are not trained.

    Args:
        gains: by seed, added to all accuracies of the evaluation.
    """
    recipe = load_recipe(Path("recipes/digits.yaml"), [f"name={label}"])
    seed_runs = tuple(seed_run_in(folder, recipe, seed) for seed in range(seeds))
    for each in seed_runs[: seeds - missing]:
        make_run(each.folder, label, each.recipe.seed, **run)  # pyright: ignore
    for each, gain in zip(seed_runs, gains, strict=False):
        path = each.folder / EVALUATION
        rows = [{**row, "top1": row["top1"] + gain} for row in json.loads(path.read_text())]
        path.write_text(json.dumps(rows))
    runs = tuple(read_run(each.folder) for each in seed_runs[: seeds - missing])
    return Result(label, Variant(None, recipe), seed_runs, Approach(label, runs) if runs else None)


def page(folder: Path, results: list[Result], *choices: Choice, choose: Sweep | None = None) -> str:
    written = write_page(folder, results, choices, choose)
    assert all(path.is_file() for path in written)
    return (folder / "compare.md").read_text()


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Result], str, Path]:
    folder = tmp_path_factory.mktemp("compared")
    better = a_result(folder, "better", 3, gains=[2.0, 2.5, 3.0], macs=2_000_000_000_000_000)
    results = [a_result(folder, "deps", 3), better, a_result(folder, "other", 3, gains=[-1.0, 0.5, 1.0], full=96.5)]
    return results, page(folder, results), folder


def values(result: Result, figure: Callable) -> list[Any]:
    assert result.approach is not None
    return [figure(run) for run in result.approach.runs]


def test_means_deviations_and_costs_are_those_of_the_runs(compared: tuple[list[Result], str, Path]) -> None:
    results, text, _ = compared
    table = rows_of(text, "")
    for result in results:
        seeds, *cells = table[result.label]
        assert seeds == "3"
        for cell, figure in zip(cells, list(FIGURES.values())[:3], strict=False):
            found = values(result, figure)
            assert cell == f"{np.mean(found):.2f} ± {np.std(found, ddof=1):.2f}"
    assert table["method"][-3:] == ["CPU process hours", "dollars", "training MACs"]
    assert table["better"][-3:] == ["1.20", "–", "2.00 P"]


def test_differences_are_paired_and_told_where_they_are_shown(compared: tuple[list[Result], str, Path]) -> None:
    results, text, _ = compared
    section = text.split("## Differences from deps")[1].split("##")[0]
    rows = [
        [cell.strip(" *") for cell in line.strip("|").split(" | ")] for line in section.splitlines() if "| " in line
    ]
    found = {(row[0].strip("| "), row[1]): row[2:] for row in rows[2:]}
    for label, result in (("better", results[1]), ("other", results[2])):
        for name, figure in FIGURES.items():
            ours, theirs = values(result, figure), values(results[0], figure)
            if ours == [None] * 3:  # of runs that train one subnet alone
                assert (label, name) not in found
                continue
            verdict, n, mean, interval = found[label, name]
            assert (n, mean) == ("3", f"{np.mean(ours) - np.mean(theirs):+.2f}")
            if np.std(np.subtract(ours, theirs)) < 1e-9:
                assert (verdict, interval.strip(" |*")) == ("no difference shown", "–")
                continue
            low, high = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
            assert interval.strip(" |*") == f"{low:+.2f} … {high:+.2f}"
            assert verdict.startswith("above" if low > 0 else "below" if high < 0 else "no difference shown")


@pytest.mark.parametrize(
    ("gains", "told"),
    [
        ([2.0, 2.5, 3.0], "above by 2.50 points (1.26 … 3.74)"),
        ([-2.0, -2.5, -3.0], "below by 2.50 points (1.26 … 3.74)"),
        ([-1.0, 2.5, 3.0], "no difference shown"),
        ([9.0], "one seed: no interval"),
    ],
)
def test_the_page_claims_what_is_shown_and_nothing_else(tmp_path: Path, gains: list[float], told: str) -> None:
    results = [a_result(tmp_path, "first", len(gains)), a_result(tmp_path, "noisy", len(gains), gains=gains)]
    text = page(tmp_path, results)
    assert text.count(told) >= 3, "of the full model, the smallest subnet and the Pareto row; the dip is the same"
    words = re.findall(r"(?:above|below) by", text)
    assert len(words) == (3 if told.endswith(")") else 0)
    assert ("One seed gives no interval" in text) == (len(gains) == 1)
    assert as_json(results, ())["differences"][0]["verdict"] == told


def test_runs_that_are_missing_are_named_and_in_no_figure(tmp_path: Path) -> None:
    results = [
        a_result(tmp_path, "first", 3, missing=1),
        a_result(tmp_path, "second", 3),
        a_result(tmp_path, "third", 2, 2),
    ]
    text = page(tmp_path, results)
    assert "Not done, and in no figure here: first-2, third-0, third-1" in text
    assert rows_of(text, "")["first"][0] == "2"
    assert "third" not in rows_of(text, "")
    assert [each["n"] for each in as_json(results, ())["differences"]] == [2] * 4, "the seeds of both"
    alone = page(tmp_path, [replace(results[0], approach=None), results[1]])
    assert "Differences from" not in alone, "there is nothing to differ from"
    with pytest.raises(ReportError, match="no run is done"):
        page(tmp_path, [results[2]])


def test_planned_and_measured_macs_are_beside_each_other(tmp_path: Path) -> None:
    results = [
        a_result(tmp_path, label, 2, macs=macs) for label, macs in (("first", 10**15), ("second", 1005 * 10**12))
    ]
    planned = [replace(each, variant=Variant(None, each.seed_runs[0].recipe, 10**15)) for each in results]
    text = page(tmp_path, planned)
    assert "all at equal training MACs" in text
    section = text.split("planned training MACs")[1]
    assert "| first | 1,000 | 1.00 P | 1.00 P | +0.00 % |" in section
    assert "| second | 1,000 | 1.00 P | 1.00 P | +0.50 % |" in section
    assert as_json(planned, ())["planned_training_macs"] == {"first": 10**15, "second": 10**15}
    assert "each at its own length" in page(tmp_path, results)


def test_what_was_tried_is_on_the_page_with_its_figures(tmp_path: Path) -> None:
    results = [a_result(tmp_path, "first", 2)]
    recipe = load_recipe(Path("recipes/digits.yaml"), ["name=first", "data.validation_samples=200"])
    trials = []
    for value, full in (("0.05", 80.0), ("0.1", 90.0)):
        run = seed_run_in(tmp_path, recipe, 1000, value)
        run.folder.mkdir(parents=True)
        (run.folder / VALIDATION).write_text(json.dumps({"subnets": evaluated(full)}))
        trials.append(Trial(Variant(value, recipe), (run,)))
    choice = Choice(Entrant("first", "first", recipe, ()), tuple(trials))
    text = page(tmp_path, results, choice, choose=Sweep("a.rate", (0.05, 0.1)))
    mean = 85 + 5 * np.mean([0.0, 0.45, 0.68, 0.88, 1.0])
    assert f"| **first** | **0.1** | **1** | **90.00** | **85.00** | **{mean:.2f}** |" in text
    assert "| first | 0.05 | 1 | 80.00 | 75.00 |" in text
    assert "on 200 validation images" in text
    assert "(1000), whose accuracy on the test split was never measured" in text
    assert as_json(results, [choice])["choices"][0]["chosen"] == "0.1"


def test_machine_versions_and_recipes_are_on_the_page(compared: tuple[list[Result], str, Path]) -> None:
    _, text, folder = compared
    assert "torch 2.13.0" in text
    assert "2 CPU cores, 8 GB" in text
    assert f"deps train {folder}/recipes/deps-0.yaml name=again" in text
    assert "full model 0–500 → ramp 500–650 → supernet 650–1,000" in text
    html = (folder / "compare.html").read_text()
    assert html.count("<img") == text.count("![") >= 4
