"""`deps compare`: train and evaluate what is missing of a comparison, or submit it, and write its page."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.comparison.choice import Choice, choices
from pipeline.comparison.display import Display
from pipeline.comparison.entrants import Entrant, Variant, check_comparable, entrants_of
from pipeline.comparison.equal_cost import at_equal_cost
from pipeline.comparison.folder import RUNS, check_free, taken_up
from pipeline.comparison.lock import kept_to_one
from pipeline.comparison.page import write_page
from pipeline.comparison.results import Result, as_json, result
from pipeline.comparison.running import Running, start
from pipeline.comparison.seed_run import SeedRun, seed_run_in
from pipeline.comparison.sweep import sweep_of
from pipeline.console.tables import print_json, print_table
from pipeline.errors import RunFailure, UsageError
from pipeline.reports import summary
from pipeline.reports.run_record import ReportError
from pipeline.reports.sections import macs_text
from pipeline.reports.summary import Approach
from pipeline.training.stop_request import StopRequest

Submits = Callable[[Sequence[str]], object]


@dataclass(frozen=True)
class Asked:
    """A comparison as it is asked for.

    Attributes:
        arguments: recipes, and overrides for all of them.
        submit: options of `deps submit`; None trains here.
    """

    arguments: Sequence[str]
    output: Path
    seeds: int
    vary: str | None
    equal_cost: bool
    training_macs: float | None
    choose: str | None
    choose_seeds: int
    runs_at_once: int
    submit: str | None

    @property
    def is_equal(self) -> bool:
        """Whether all are to train at equal cost."""
        return self.equal_cost or self.training_macs is not None

    def of_folder(self, first: str) -> dict[str, str]:
        """The options that change what is compared, besides recipes and overrides; there may be more seeds later.

        Args:
            first: the first recipe's name, to whose cost all are scaled.
        """
        chosen = {} if self.choose is None else {"--choose": self.choose, "--choose-seeds": str(self.choose_seeds)}
        if self.training_macs is not None:
            return {**chosen, "--training-macs": f"{self.training_macs:g}"}
        return {**chosen, "--equal-cost": f"(to {first})"} if self.equal_cost else chosen


def print_comparison(asked: Asked, submits: Submits, prints_json: bool) -> signal.Signals | None:
    """Do what is missing of the comparison, and print where its page is; with `prints_json` also its figures.

    Args:
        submits: is `deps submit`, given its arguments.

    Returns:
        The signal that asked to stop, if any; then there is no page.

    Raises:
        UsageError: for what cannot be compared, or is asked for wrongly.
        RunFailure: runs have failed; those that have not are on the page.
    """
    try:
        return _compare(asked, submits, prints_json)
    except ReportError as error:
        raise RunFailure(str(error)) from None


def _compare(asked: Asked, submits: Submits, prints_json: bool) -> signal.Signals | None:
    vary, choose = sweep_of("--vary", asked.vary), sweep_of("--choose", asked.choose)
    files, overrides = _told_apart(asked.arguments)
    found = entrants_of(files, overrides, asked.output / RUNS, vary, choose)
    check_free(asked.output)
    check_comparable(found)
    stop, display = StopRequest(), Display()
    with kept_to_one(asked.output, display.say) as lock:
        scaled = (lambda: at_equal_cost(found, asked.training_macs)) if asked.is_equal else (lambda: found)
        entrants = taken_up(asked.output, asked.of_folder(found[0].name), found, scaled)
        with stop.listening(), display:
            running = Running(start(lock, asked.runs_at_once), asked.runs_at_once, display, stop)
            tried = choices(asked.output, entrants, choose, asked.choose_seeds) if choose else []
            for_choosing = [each for choice in tried for trial in choice.trials for each in trial.seed_runs]
            if _submitted(asked, for_choosing, submits):
                return None
            running.finish(for_choosing)
            chosen = {choice.entrant.name: choice.chosen() for choice in tried}
            of_each = [
                _OfEntrant(each, chosen.get(each.name) if tried else each.variants[0], asked) for each in entrants
            ]
            seed_runs = [seed_run for each in of_each for seed_run in each.seed_runs]
            if not stop.signal and _submitted(asked, seed_runs, submits):
                return None
            running.finish(seed_runs)
        if stop.signal:
            return stop.signal
        came_to = [result(each.entrant.label, each.variant, each.seed_runs) for each in of_each]
        pages = write_page(asked.output, came_to, tried, choose)
        _print(pages, came_to, tried, prints_json)
    if running.failures:
        names = ", ".join(each.seed_run.name for each in running.failures)
        raise RunFailure(f"{len(running.failures)} of the runs failed, as told above: {names}; the page has the others")
    return None


class _OfEntrant:
    """An entrant and its runs: none, where no value could be chosen for it."""

    def __init__(self, entrant: Entrant, variant: Variant | None, asked: Asked) -> None:
        self.entrant, self.variant = entrant, variant
        seeds = range(asked.seeds) if variant else ()
        self.seed_runs = [seed_run_in(asked.output, variant.recipe, seed) for seed in seeds if variant]


def _told_apart(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The recipes among the arguments, and the overrides."""
    is_override = ["=" in argument and not Path(argument).is_file() for argument in arguments]
    pairs = list(zip(arguments, is_override, strict=True))
    files = [Path(argument) for argument, overrides in pairs if not overrides]
    if not files:
        raise UsageError("compare: needs a recipe, see recipes/")
    return files, [argument for argument, overrides in pairs if overrides]


def _submitted(asked: Asked, seed_runs: Sequence[SeedRun], submits: Submits) -> bool:
    """Whether training was handed to SLURM, as one array of the runs that are not trained."""
    files = [str(each.file) for each in seed_runs if each.next_task() and not each.is_trained()]
    if asked.submit is None or not files:
        return False
    try:
        options = shlex.split(asked.submit)
    except ValueError as error:
        raise UsageError(f"--submit '{asked.submit}': {error}") from None
    submits([*files, "--resume", *options])
    return True


def _print(pages: Sequence[Path], came_to: Sequence[Result], tried: Sequence[Choice], prints_json: bool) -> None:
    if prints_json:
        print_json({"pages": [str(page) for page in pages], **as_json(came_to, tried)})
        return
    rows = [_row(each.approach) for each in came_to if each.approach]
    print_table("Means over seeds; top-1 on the test split, in per cent", rows, _COLUMNS)
    print("\n".join(map(str, pages)))


_COLUMNS = {
    "name": ("method", ""),
    "seeds": ("seeds", "d"),
    "full": ("full model", ">"),
    "smallest": ("smallest", ">"),
    "pareto": ("mean Pareto", ">"),
    "macs": ("training MACs", ">"),
}


def _row(approach: Approach) -> dict[str, Any]:
    macs = summary.spread([run.ledger.training_macs for run in approach.runs])
    return {
        "name": approach.name,
        "seeds": len(approach.runs),
        "full": summary.spread_text(approach, summary.full_top1, 2),
        "smallest": summary.spread_text(approach, summary.smallest_top1, 2),
        "pareto": summary.spread_text(approach, summary.mean_pareto, 2),
        "macs": macs_text(macs.mean if macs else None),
    }
