"""The sections of a report, each a list of headings, text, tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.console.quantities import with_prefix
from pipeline.reports import plots, summary
from pipeline.reports.page import Block, Code, Figure, Figures, Heading, Table, Text
from pipeline.reports.plots import Looks
from pipeline.reports.run_record import RunRecord
from pipeline.reports.summary import Approach, spread, spread_text
from pipeline.tracking.ledger import CPU_PROCESS_HOURS

NONE = "–"


def key_figures(approaches: Sequence[Approach]) -> list[Block]:
    """What was run, and the figures that matter most: each run, and the mean of each approach."""
    runs = [run for approach in approaches for run in approach.runs]
    info = runs[0].info
    counted = f"{plural(len(runs), 'run')} of {plural(len(approaches), 'approach', 'approaches')}"
    lead = (
        f"{counted} on {info.dataset} ({info.classes} classes). Accuracy is top-1 on held-out images, in per cent; "
        "± is the sample standard deviation over the seeds of one approach."
    )
    if kept := [run.info for run in runs if run.info.validation_samples]:
        counts = ", ".join(f"{count:,}" for count in dict.fromkeys(info.validation_samples for info in kept))
        lead += (
            f" Accuracies in training are of validation images ({counts}), which are training images kept out of "
            "training"
        )
        lead += (
            "." if len(kept) == len(runs) else f", in {', '.join(info.name for info in kept)}; else of held-out ones."
        )
    header = ["run", "seed", "full model, %", "smallest, %", "mean Pareto, %", *cost_header(approaches), "trained"]
    rows: list[list[str]] = []
    strong = set()
    for approach in approaches:
        rows += [_run_row(run, approaches) for run in approach.runs]
        if len(approach.runs) > 1:
            strong.add(len(rows))
            cells = [_mean_accuracy(approach, figure) for figure in (summary.full_top1, summary.smallest_top1)]
            cells.append(spread_text(approach, summary.mean_pareto, 2))
            rows.append([approach.name, f"n = {len(approach.runs)}", *cells, *mean_cost(approach, approaches), ""])
    blocks: list[Block] = [Text(lead), Table(header, rows, labels=1, strong=frozenset(strong))]
    if missing := [run.info.name for run in runs if run.subnets is None]:
        images = summary.measured_on(approaches)
        note = f"The accuracy is the {images} one last measured in training, and there is no mean Pareto accuracy."
        blocks.append(Text(f"† Not evaluated: {', '.join(missing)}. {note}", note=True))
    return blocks


def _run_row(run: RunRecord, approaches: Sequence[Approach]) -> list[str]:
    mark = "" if run.subnets else " †"
    pareto = summary.mean_pareto(run)
    ends = (summary.full_top1(run), summary.smallest_top1(run))
    accuracies = [NONE if value is None else f"{value:.2f}{mark}" for value in ends]
    done, planned = run.steps_done, run.info.steps
    trained = f"{round(run.info.epochs, 2):g} epochs" if done >= planned else f"stopped at step {done} of {planned}"
    spent = [significant(run.ledger.hours), *_unit_cell(run, approaches)]
    cost = [*spent, _dollars(run.ledger.dollars), macs_text(run.ledger.training_macs)]
    return [run.info.name, str(run.info.seed), *accuracies, NONE if pareto is None else f"{pareto:.2f}", *cost, trained]


def _mean_accuracy(approach: Approach, figure: Callable[[RunRecord], float | None]) -> str:
    runs = summary.comparable(approach)
    found = spread([figure(run) for run in runs])
    if found is None:
        return NONE
    return found.text(2, len(approach.runs)) + ("" if runs[0].subnets else " †")


def accuracy(approaches: Sequence[Approach], looks: Looks, output: Path) -> list[Block]:
    """Accuracy of the evaluated subnets against their size."""
    blocks: list[Block] = [Heading("Accuracy against size")]
    evaluated = [approach for approach in approaches if any(run.subnets for run in approach.runs)]
    if not evaluated:
        text = Text("No run was evaluated yet: ", Code("deps evaluate RUN"), " measures its subnets.")
        return [*blocks, text]
    path = plots.macs_plot(output / "accuracy_macs.svg", evaluated, looks)
    caption = "Each evaluated subnet after batch-norm recalibration"
    caption += ": means over seeds, in a band of ± one deviation." if _several_seeds(evaluated) else "."
    others = dict.fromkeys(s.subnet for a in evaluated for run in a.runs for s in run.others)
    if others:
        caption += " Hollow markers are subnets outside the Pareto row."
    subnets = {(s.macs, s.params, s.subnet) for a in evaluated for run in a.runs for s in run.subnets or ()}
    rows = []
    for macs, params, name in sorted(subnets):
        accuracies = [spread_text(a, lambda run, n=name, m=macs: _top1_of(run, n, m), 2) for a in evaluated]
        rows.append([name, millions(macs), millions(params), *accuracies])
    header = ["subnet", "MACs", "parameters", *(f"{approach.name}, %" for approach in evaluated)]
    blocks += [Figures([Figure(path, caption)]), Table(header, rows)]
    if others:
        text = f"Outside the Pareto row, and in no mean over it: {', '.join(others)}."
        blocks.append(Text(text, note=True))
    sets = {tuple(subnet.subnet for subnet in run.pareto) for a in evaluated for run in a.runs if run.subnets}
    if len(sets) > 1:
        text = "The runs were evaluated on different subnets, so their mean Pareto accuracies do not compare directly."
        blocks.append(Text(text, note=True))
    return blocks


def _top1_of(run: RunRecord, name: str, macs: int) -> float | None:
    return next((s.top1 for s in run.subnets or () if (s.subnet, s.macs) == (name, macs)), None)


def cost(approaches: Sequence[Approach], looks: Looks, output: Path) -> list[Block]:
    """What it cost, what that was spent on, and what accuracy it had bought by when."""
    blocks: list[Block] = [Heading("Cost"), _cost_table(approaches)]
    note = (
        "Hours are accelerators × time held, over all starts of a run, with data waits, evaluation, saving and idling; "
        "minutes per epoch are the same hours divided by the epochs trained. A middle subnet is taken within 5 % of "
        "the MACs named. Training MACs are multiply-accumulates by the method's definition, the same on every machine: "
        "for each image of a step three times the MACs of each subnet that it trains, forward and backward, and once "
        "those of a frozen teacher."
    )
    if CPU_PROCESS_HOURS in _units(approaches):
        note += " Without accelerators, a process takes the place of one; its hours do not compare with those of a GPU."
    blocks.append(Text(note, note=True))
    figures, images = [], summary.measured_on(approaches)
    phases = list(dict.fromkeys(phase.name for a in approaches for run in a.runs for phase in run.phases))
    counted = [a for a in approaches if any(run.training_macs and "acc/full" in run.metrics for run in a.runs)]
    if counted:
        path = plots.cost_plot(
            output / "accuracy_training_macs.svg", counted, looks, lambda run: run.training_macs, "training MACs"
        )
        caption = f"{images.capitalize()} accuracy in training against training MACs so far; a line per run."
        figures.append(Figure(path, caption))
    for number, unit in enumerate(_units(approaches)):
        members = [approach for approach in approaches if approach.unit == unit]
        suffix = f"_{number}" if number else ""
        measured = [a for a in members if any(run.cost is not None and "acc/full" in run.metrics for run in a.runs)]
        if measured:
            path = plots.cost_plot(output / f"accuracy_cost{suffix}.svg", measured, looks, lambda run: run.cost, unit)
            figures.append(
                Figure(
                    path, f"{images.capitalize()} accuracy in training against cost so far, in {unit}; a line per run."
                )
            )
        split = {approach.name: _split(approach) for approach in members}
        path = plots.category_plot(output / f"cost_split{suffix}.svg", split, phases, unit)
        figures.append(Figure(path, f"What the {unit} went into: mean of each approach's runs."))
    named = [*phases, *plots.CATEGORY_COLOURS]
    categories = list(dict.fromkeys([*named, *(name for a in approaches for name in _split(a))]))
    categories = [name for name in categories if any(_split(a).get(name) for a in approaches)]
    rows = [[a.name, *(_share(_split(a), name) for name in categories)] for a in approaches]
    return [*blocks, Figures(figures), Table(["share of cost", *categories], rows)]


def _cost_table(approaches: Sequence[Approach]) -> Table:
    runs = [run for approach in approaches for run in approach.runs]
    middle = summary.middle_macs(runs)
    sizes = {found.macs for run in runs if (found := summary.smallest(run))}
    at = f" ({millions(next(iter(sizes)))} MACs)" if len(sizes) == 1 else ""
    units = _units(approaches)
    per_epoch = f"{_singular(units[0])} minutes per epoch" if len(units) == 1 else "minutes per epoch"
    header = [
        "approach",
        f"smallest{at}",
        "at a middle subnet" if middle is None else f"at {millions(middle)} MACs",
        "mean Pareto",
    ]
    header += ["epochs", per_epoch, *cost_header(approaches)]
    rows = []
    for approach in approaches:
        smallest = spread_text(approach, lambda run: s.top1 if (s := summary.smallest(run)) else None, 2)
        own_size = summary.smallest(approach.runs[0])
        if len(sizes) > 1 and own_size:
            smallest += f" ({millions(own_size.macs)})"
        minutes = spread([summary.minutes_per_epoch(run) for run in approach.runs])
        epochs = sorted({round(run.epochs_done, 1) for run in approach.runs})
        rows.append(
            [
                approach.name,
                smallest,
                spread_text(approach, lambda run: summary.top1_at(run, middle), 2),
                spread_text(approach, summary.mean_pareto, 2),
                ", ".join(f"{count:g}" for count in epochs),
                NONE if minutes is None else significant(minutes.mean),
                *mean_cost(approach, approaches),
            ]
        )
    return Table(header, rows)


def _split(approach: Approach) -> dict[str, float]:
    """Mean hours by category, named in words, over an approach's runs."""
    split: dict[str, float] = {}
    for run in approach.runs:
        for category, hours in run.ledger.hours_by_category().items():
            name = category.replace("_", " ")
            split[name] = split.get(name, 0.0) + hours / len(approach.runs)
    return split


def _share(split: dict[str, float], name: str) -> str:
    total = sum(split.values())
    return f"{100 * split[name] / total:.1f} %" if total and split.get(name) else NONE


def shrinking(approaches: Sequence[Approach], looks: Looks, output: Path) -> list[Block]:
    """The dip of the full model when subnets begin to be trained, for runs that start with the full model alone."""
    members = [approach for approach in approaches if any(run.shrink_start is not None for run in approach.runs)]
    if not members:
        return []
    blocks: list[Block] = [Heading("When shrinking begins")]
    dips = {approach.name: [summary.dip(run) for run in approach.runs] for approach in members}
    rows = []
    for approach in members:
        found = [dip for dip in dips[approach.name] if dip]
        cells = [[dip.before for dip in found], [dip.lowest for dip in found], [dip.points for dip in found]]
        texts = [NONE if (s := spread(values)) is None else s.text(2, len(found)) for values in cells]
        rows.append([approach.name, str(len(found)), *texts])
    header = ["approach", "n", "full model before, %", "lowest after, %", "dip, points"]
    blocks.append(Table(header, rows))
    note = (
        f"Before: the full model's {summary.measured_on(members)} accuracy last measured at or before the step at "
        "which shrinking begins. "
        "After: the lowest one within the first quarter of the steps that remain. A negative dip is a rise."
    )
    if any(dip is None for values in dips.values() for dip in values):
        note += " Runs that were not evaluated in training on both sides are left out of n."
    blocks.append(Text(note, note=True))
    if any(dip for values in dips.values() for dip in values):
        path = plots.shrink_plot(output / "shrinking.svg", members, looks)
        caption = f"The full model's {summary.measured_on(members)} accuracy around the start of shrinking"
        caption += ": means over seeds, and each run." if _several_seeds(members) else "."
        blocks.append(Figures([Figure(path, caption)]))
    return blocks


def curves(approaches: Sequence[Approach], looks: Looks, output: Path) -> list[Block]:
    """Loss and held-out accuracy over the epochs, approach by approach, on common scales."""
    all_runs = [run for approach in approaches for run in approach.runs]
    figures = []
    for number, approach in enumerate(approaches):
        images = summary.measured_on([approach])
        for kind, label in (("acc", f"{images} top-1 (%)"), ("loss", "training loss (nats)")):
            drawn = [f"{kind}/{network}" for network in plots.networks(approach)]
            if not any(name in run.metrics for run in approach.runs for name in drawn):
                continue
            limits = plots.common_limits(
                [run.metrics[name] for run in all_runs for name in drawn if name in run.metrics],
                highest=100.0 if kind == "acc" else None,
            )
            path = plots.curves_plot(output / f"{kind}_{number + 1}.svg", approach, looks, kind, label, limits)
            what = f"{images} accuracy in training" if kind == "acc" else "training loss"
            figures.append(Figure(path, f"{approach.name}: {what}."))
    note = "Dashed verticals are phase boundaries."
    if _several_seeds(approaches):
        note += " Thin lines are single runs, beside their mean."
    return [Heading("Learning curves"), Text(note, note=True), Figures(figures)] if figures else []


def origin(approaches: Sequence[Approach]) -> list[Block]:
    """Where the figures come from: machine, versions, dates, seeds."""
    rows = []
    for approach in approaches:
        for run in approach.runs:
            info = run.info
            processes = f"{info.engine}, {plural(info.world_size, 'process', 'processes')}"
            trained_on = f"{processes}, batch {info.batch_size}"
            began = f"{info.started:%Y-%m-%d %H:%M %Z}".strip()
            rows.append([info.name, approach.name, str(info.seed), began, trained_on, info.machine])
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in run.info.versions.items())
        for approach in approaches
        for run in approach.runs
    )
    header = ["run", "approach", "seed", "started", "engine", "machine"]
    text = "Versions: " + "; or ".join(versions) + ". Each run folder holds its full recipe in config.yaml."
    return [Heading("Where this comes from"), Table(header, rows, labels=len(header)), Text(text, note=True)]


def _several_seeds(approaches: Sequence[Approach]) -> bool:
    return any(len(approach.runs) > 1 for approach in approaches)


def _units(approaches: Sequence[Approach]) -> list[str]:
    return list(dict.fromkeys(approach.unit for approach in approaches))


def cost_header(approaches: Sequence[Approach]) -> list[str]:
    """Columns of hours, dollars and MACs; the unit is in the header, or has its own column where it differs."""
    units = _units(approaches)
    hours = [units[0]] if len(units) == 1 else ["hours", "unit"]
    return [*hours, "dollars", "training MACs"]


def _unit_cell(run: RunRecord, approaches: Sequence[Approach]) -> list[str]:
    return [] if len(_units(approaches)) == 1 else [run.ledger.unit]


def mean_cost(approach: Approach, approaches: Sequence[Approach]) -> list[str]:
    """The cells of an approach under `cost_header`: means over its runs."""
    hours = sum(run.ledger.hours for run in approach.runs) / len(approach.runs)
    prices = spread([run.ledger.dollars for run in approach.runs])
    macs = spread([run.ledger.training_macs for run in approach.runs])
    spent = [significant(hours), *_unit_cell(approach.runs[0], approaches)]
    return [*spent, _dollars(prices.mean if prices else None), macs_text(macs.mean if macs else None)]


def _singular(unit: str) -> str:
    return unit.removesuffix(" hours")


def _dollars(value: float | None) -> str:
    return NONE if value is None else f"{value:,.2f}"


def macs_text(count: float | None) -> str:
    """Training MACs with a prefix of the SI."""
    return "not counted" if count is None else with_prefix(count, "")


def plural(count: int, one: str, many: str | None = None) -> str:
    """Such as "1 run", "2 runs"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def significant(value: float, digits: int = 3) -> str:
    """A positive number with `digits` significant digits, and without an exponent: 0.0123, 1.23, 1,230."""
    if value == 0:
        return "0"
    if value >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    decimals = digits - len(f"{value:.0f}") if value >= 1 else digits
    return f"{value:.{decimals}f}"


def millions(count: int) -> str:
    """A count in millions: 566M, 12.3M, 0.85M."""
    return f"{significant(count / 1e6)}M"
