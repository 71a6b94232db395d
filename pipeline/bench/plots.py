"""The figures of the benchmarks, as SVG files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from pipeline.evaluation.plots import COLOURS, MARKERS

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a94a0",
    "axes.labelcolor": "#1c2430",
    "xtick.color": "#5b6675",
    "ytick.color": "#1c2430",
    "axes.grid": True,
    "grid.color": "#e8ebef",
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "svg.hashsalt": "bench",  # the same figures give the same file
}
_METADATA = {"Date": None}
_OPERATION_CONTENDERS = {"ours": "ours", "strong_eager": "strong eager", "ofa_style": "OFA style"}
_STEP_COLOURS = dict(zip(("ours", "OFA style", "plain networks", "strong eager"), COLOURS, strict=False))


def step_plot(path: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A bar of seconds per step for each contender and batch size, with its ratio to ours."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7, 1.1 + 0.42 * len(rows)), layout="constrained")
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
        axes.invert_yaxis()
        axes.margins(x=0.22)
        axes.set_xlim(left=0)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("seconds per step" + ("" if many else f", batch {next(iter(sizes))}"))
        figure.suptitle(title, fontsize=10)
        figure.savefig(path, format="svg", metadata=_METADATA)


def kernels_plot(path: Path, title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Each operation's time as a multiple of its floor, forward and backward, a marker for each contender."""
    directions = list(dict.fromkeys(row["direction"] for row in rows))
    with matplotlib.rc_context(_STYLE):
        count = len(rows) // len(directions)
        figure = Figure(figsize=(9.5, 1.5 + 0.21 * count), layout="constrained")
        panels = figure.subplots(1, len(directions), sharex=True, sharey=True, squeeze=False)[0]
        for axes, direction in zip(panels, directions, strict=True):
            _times_of_floor(axes, [row for row in rows if row["direction"] == direction])
            axes.set_title(direction)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels) or 1)
        figure.suptitle(title, fontsize=10)
        figure.savefig(path, format="svg", metadata=_METADATA)


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
    axes.set_yticks(range(len(rows)), [f"{row['operation'].replace('_', ' ')}  {row['shape']}" for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlabel("time / floor")
