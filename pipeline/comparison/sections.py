"""The sections of a comparison's page that a report does not have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.comparison.choice import Choice
from pipeline.comparison.folder import LOGS, RECIPES, RUNS
from pipeline.comparison.results import Result, differences
from pipeline.comparison.statistics import Difference
from pipeline.comparison.sweep import Sweep
from pipeline.reports import plots, summary
from pipeline.reports.page import Block, Code, Figure, Figures, Heading, Table, Text
from pipeline.reports.plots import Looks
from pipeline.reports.run_record import RunRecord
from pipeline.reports.sections import NONE, cost_header, macs_text, mean_cost, plural
from pipeline.reports.summary import Approach, spread, spread_text


def outcome(results: Sequence[Result], approaches: Sequence[Approach]) -> list[Block]:
    """What was compared, and each entrant's mean over its seeds."""
    info = approaches[0].runs[0].info
    is_equal = any(each.planned_macs is not None for each in results)
    length = "all at equal training MACs" if is_equal else "each at its own length"
    lead = (
        f"{plural(len(results), 'method')} on {info.dataset} ({info.classes} classes), {length}. Accuracy is top-1 on "
        "the test split, in per cent; ± is the sample standard deviation over seeds; the mean Pareto accuracy is over "
        "all subnets of the Pareto row."
    )
    header = ["method", "seeds", "full model, %", "smallest, %", "mean Pareto, %", *cost_header(approaches)]
    rows = []
    for approach in approaches:
        figures = (summary.full_top1, summary.smallest_top1, summary.mean_pareto)
        cells = [spread_text(approach, figure, 2) for figure in figures]
        rows.append([approach.name, str(len(approach.runs)), *cells, *mean_cost(approach, approaches)])
    blocks: list[Block] = [Text(lead), Table(header, rows)]
    if missing := [name for each in results for name in each.missing]:
        text = f"Not done, and in no figure here: {', '.join(missing)}."
        blocks.append(Text(text, note=True))
    return blocks


def against_first(approaches: Sequence[Approach]) -> list[Block]:
    """The paired differences, and what they show."""
    first, *others = approaches
    if not others:
        return []
    found = differences(approaches)
    rows = [
        [
            each.approach.name,
            each.figure,
            each.difference.verdict,
            str(each.difference.n),
            f"{each.difference.mean:+.2f}",
            _interval(each.difference),
        ]
        for each in found
    ]
    shown = frozenset(row for row, each in enumerate(found) if each.difference.is_shown)
    header = ["method", "figure", f"against {first.name}", "seeds", "difference, points", "95 % interval"]
    note = (
        f"Differences are a method's figure less that of {first.name} with the same seed, in percentage points. The "
        "interval is Student's t for their mean, of each row by itself: of twenty rows without a difference, one is "
        "expected to exclude zero. In words, and bold, is only what excludes it."
    )
    if any(each.difference.n == 1 for each in found):
        note += " One seed gives no interval, and shows no difference."
    return [
        Heading(f"Differences from {first.name}"),
        Table(header, rows, labels=3, strong=shown),
        Text(note, note=True),
    ]


def _interval(difference: Difference) -> str:
    return NONE if difference.interval is None else "{:+.2f} … {:+.2f}".format(*difference.interval)


def cost(results: Sequence[Result], approaches: Sequence[Approach], looks: Looks, output: Path) -> list[Block]:
    """Accuracy against what it cost; and how near to the planned cost runs came, where one was planned."""
    figures = []
    if any(_training_macs(run) is not None for approach in approaches for run in approach.runs):
        path = _ends_plot(output / "accuracy_training_macs.svg", approaches, looks, "training MACs")
        figures.append(Figure(path, "Mean Pareto accuracy against training MACs: each run, and each method's mean."))
    for number, unit in enumerate(dict.fromkeys(approach.unit for approach in approaches)):
        sharing = [approach for approach in approaches if approach.unit == unit]
        name = f"accuracy_hours{f'_{number}' if number else ''}.svg"
        path = _ends_plot(output / name, sharing, looks, unit)
        figures.append(Figure(path, f"Mean Pareto accuracy against {unit}: each run, and each method's mean."))
    note = (
        "Hours are accelerators × time held, over all starts of a run, without the evaluation at the end; of runs that "
        "shared a machine they are longer than of one alone. Training MACs are the same on every machine."
    )
    return [Heading("Accuracy against cost"), Figures(figures), Text(note, note=True), *_planned(results)]


def _ends_plot(path: Path, approaches: Sequence[Approach], looks: Looks, quantity: str) -> Path:
    spent = _training_macs if quantity == "training MACs" else lambda run: run.ledger.hours
    return plots.ends_plot(path, approaches, looks, spent, summary.mean_pareto, quantity, "mean Pareto top-1 (%)")


def _training_macs(run: RunRecord) -> float | None:
    return None if run.ledger.training_macs is None else float(run.ledger.training_macs)


def _planned(results: Sequence[Result]) -> list[Block]:
    rows = []
    for each in results:
        if each.planned_macs is None or each.approach is None:
            continue
        measured = spread([_training_macs(run) for run in each.approach.runs])
        cells = (
            [macs_text(measured.mean), f"{100 * (measured.mean / each.planned_macs - 1):+.2f} %"]
            if measured
            else [NONE, NONE]
        )
        steps = f"{each.approach.runs[0].info.steps:,}"
        rows.append([each.label, steps, macs_text(each.planned_macs), *cells])
    if not rows:
        return []
    note = (
        "Each method's durations are scaled by one factor to the same training MACs, in its own proportions. They are "
        "planned for seed 0, to within 1 % of each other; other seeds draw other subnets. Steps that a run trained "
        "again after a kill are in what is measured."
    )
    header = ["method", "steps", "planned training MACs", "measured, mean", "measured against planned"]
    return [Table(header, rows), Text(note, note=True)]


def choosing(choices: Sequence[Choice], choose: Sweep | None) -> list[Block]:
    """Which values were tried, what each came to on validation images, and which was taken."""
    if choose is None:
        return []
    rows, taken = [], set()
    for choice in choices:
        chosen = choice.chosen()
        for trial in choice.trials:
            if chosen is trial.variant:
                taken.add(len(rows))
            found = trial.accuracies()
            figures = [spread([run[place] for run in found]) if found else None for place in range(3)]
            cells = [NONE if each is None else each.text(2, len(trial.seed_runs)) for each in figures]
            if trial.has_diverged():
                cells[-1] = "diverged"
            rows.append([choice.entrant.label, str(trial.variant.value), str(len(trial.seed_runs)), *cells])
    kept = choices[0].entrant.base.data.validation_samples
    seeds = ", ".join(str(each.recipe.seed) for each in choices[0].trials[0].seed_runs)
    text = (
        f"{choose.key} was chosen for each method by itself: the value with the best mean Pareto accuracy on {kept:,} "
        f"validation images, which are training images that no run here trains on; by runs of seeds of their own "
        f"({seeds}), whose accuracy on the test split was never measured. Bold is what was taken; a value with which a "
        "loss was not finite (diverged) is not."
    )
    header = ["method", choose.key, "seeds", "full model, %", "smallest, %", "mean Pareto, %"]
    return [Heading(f"How {choose.key} was chosen"), Text(text), Table(header, rows, labels=2, strong=frozenset(taken))]


def trained(results: Sequence[Result], folder: Path) -> list[Block]:
    """What each entrant's runs trained, and how to do it again."""
    rows = []
    for each in results:
        if each.approach is None:
            continue
        run = each.approach.runs[0]
        phases = " → ".join(f"{phase.name} {phase.start:,}–{phase.end:,}" for phase in run.phases)
        length = [f"{run.info.steps:,}", f"{round(run.info.epochs, 2):g}", str(run.info.batch_size)]
        rows.append([each.label, each.seed_runs[0].name.rpartition("-")[0], phases, *length])
    header = ["method", "recipe", "phases, in steps", "steps", "epochs", "batch"]
    again = f"deps train {next(each.seed_runs[0].file for each in results if each.seed_runs)} name=again"
    text = Text(
        f"The recipe of each run, every key written out, is in {RECIPES}/, what it printed in {LOGS}/. A run is "
        "repeated by ",
        Code(again),
        "; learning curves are on the page of ",
        Code(f"deps report {folder}/{RUNS}/* --output {folder}/report"),
        ".",
        note=True,
    )
    return [Heading("What was trained"), Table(header, rows, labels=3), text]
