"""The figures of the benchmarks, as SVG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.reports.figures import Axes, LogFormatter, StrMethodFormatter, label, svg_figure
from pipeline.reports.plots import COLOURS, MARKERS

_STYLE = {
    "font.size": 9,
    "ytick.color": "#1c2430",
    "axes.titlesize": 10,
    "svg.hashsalt": "bench",
}
_OPERATION_CONTENDERS = {"ours": "ours", "strong_eager": "strong eager", "ofa_style": "OFA style"}
_STEP_COLOURS = dict(zip(("ours", "strong eager", "OFA style", "plain networks"), COLOURS, strict=False))


def step_plot(path: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A bar of seconds per step for each contender and batch size, with its ratio to ours."""
    with svg_figure(path, (7, 1.1 + 0.42 * len(rows)), _STYLE) as figure:
        axes = figure.add_subplot()
        sizes = {row["batch_size"] for row in rows}
        for position, row in enumerate(rows):
            seconds = row.get("seconds_per_step")
            if seconds is None:
                axes.text(0, position, " FAILED", va="center", color="#b3261e")
                continue
            axes.barh(position, seconds, height=0.6, color=_STEP_COLOURS[row["contender"]])
            ratio = f", {row['ratio']:.2f} × ours" if row.get("ratio", 1) != 1 else ""
            axes.text(seconds, position, f" {seconds:.3g} s{ratio}", va="center", color="#1c2430")
        many = len(sizes) > 1
        labels = [f"{row['contender']}, batch {row['batch_size']}" if many else row["contender"] for row in rows]
        axes.set_yticks(range(len(rows)), labels)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(0, 1.3 * max((row.get("seconds_per_step", 0) for row in rows), default=0) or 1)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("seconds per step" + ("" if many else f", batch {next(iter(sizes))}"))
        figure.suptitle(label(title, 200), fontsize=10)


def kernels_plot(path: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Each operation's time as a multiple of its floor, forward and backward, a marker for each contender."""
    directions = list(dict.fromkeys(row["direction"] for row in rows))
    count = len(rows) // len(directions)
    with svg_figure(path, (9.5, 1.5 + 0.21 * count), _STYLE) as figure:
        panels = figure.subplots(1, len(directions), sharex=True, sharey=True, squeeze=False)[0]
        for axes, direction in zip(panels, directions, strict=True):
            _times_of_floor(axes, [row for row in rows if row["direction"] == direction])
            axes.set_title(direction)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels) or 1)
        figure.suptitle(label(title, 200), fontsize=10)


def data_plot(path: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A bar of images per second and one of CPU time per image for each contender; panels for each data set."""
    figures = {"images_per_second": "images/s", "cpu_us_per_image": "CPU µs per image"}
    sets = list(dict.fromkeys(row["data_set"] for row in rows))
    with svg_figure(path, (9.5, 1 + 0.27 * len(rows)), _STYLE) as figure:
        panels = figure.subplots(len(sets), len(figures), sharex="col", sharey="row", squeeze=False)
        for line, name in zip(panels, sets, strict=True):
            here = [row for row in rows if row["data_set"] == name]
            for axes, (key, quantity) in zip(line, figures.items(), strict=True):
                _data_bars(axes, here, key)
                axes.set_title(f"{quantity}, pictures of {label(name)}")
        figure.suptitle(label(title, 200), fontsize=10)


def _data_bars(axes: Axes, rows: Sequence[Mapping[str, Any]], key: str) -> None:
    for position, row in enumerate(rows):
        if key in row:
            axes.barh(position, row[key], height=0.6, color=COLOURS[0])
            axes.text(row[key], position, f" {row[key]:.0f}", va="center", color="#1c2430")
        else:
            axes.text(0, position, f" {row['status'].split(':')[0]}", va="center", color="#b3261e")
    axes.margins(x=0.15)
    axes.set_yticks(range(len(rows)), [row["contender"] for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _times_of_floor(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for (key, name), colour, marker in zip(_OPERATION_CONTENDERS.items(), COLOURS, MARKERS, strict=False):
        points = [
            (row[f"{key}_seconds"] / row["floor_seconds"], position)
            for position, row in enumerate(rows)
            if f"{key}_seconds" in row
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker, color=colour, markersize=5, label=name)
    for position, row in enumerate(rows):
        if row["status"] != "ok":
            axes.text(1, position, " FAILED", va="center", color="#b3261e")
    axes.axvline(1, color="#5b6675", linewidth=0.9, linestyle=(0, (4, 3)))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(LogFormatter())  # the default one writes mathematics
    axes.set_yticks(range(len(rows)), [f"{row['operation'].replace('_', ' ')}  {row['shape']}" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("time / floor")


def evaluate_plot(path: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A bar of subnets per minute for each network and contender."""
    with svg_figure(path, (7, 1.1 + 0.42 * len(rows)), _STYLE) as figure:
        axes = figure.add_subplot()
        for position, row in enumerate(rows):
            if "subnets_per_minute" not in row:
                axes.text(0, position, " FAILED", va="center", color="#b3261e")
                continue
            axes.barh(position, row["subnets_per_minute"], height=0.6, color=COLOURS[row["contender"] != "ours"])
            ratio = f", {row['ratio']:.2f} × ours' time" if row["ratio"] != 1 else ""
            axes.text(row["subnets_per_minute"], position, f" {row['subnets_per_minute']:.3g}{ratio}", va="center")
        axes.set_yticks(range(len(rows)), [f"{label(row['network'])}, {row['contender']}" for row in rows])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.margins(x=0.3)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("subnets per minute")
        figure.suptitle(label(title, 200), fontsize=10)


def search_plot(path: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Mean hypervolume over evaluations, a line for each contender; the reference's is 1."""
    with svg_figure(path, (7, 4.2), _STYLE) as figure:
        axes = figure.add_subplot()
        names = dict.fromkeys(row["contender"] for row in rows)
        for name, colour, marker in zip(names, COLOURS, MARKERS, strict=False):
            counts = sorted({row["evaluations"] for row in rows})
            volumes = [
                [row["hypervolume"] for row in rows if (row["contender"], row["evaluations"]) == (name, count)]
                for count in counts
            ]
            means = [sum(each) / len(each) for each in volumes]
            axes.plot(counts, means, marker=marker, color=colour, markersize=4, linewidth=1, label=name)
        axes.axhline(1, color="#5b6675", linewidth=0.9, linestyle=(0, (4, 3)))
        axes.set_xlabel("evaluations")
        axes.set_ylabel("hypervolume, share of the reference's")
        axes.legend(loc="lower right")
        figure.suptitle(label(title, 200), fontsize=10)
