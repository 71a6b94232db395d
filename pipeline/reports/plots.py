"""The figures of a report, as SVG files. One approach has one colour and one marker throughout."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.reports.figures import Axes, EngFormatter, Line2D, MaxNLocator, label, svg_figure
from pipeline.reports.run_record import RunRecord, SubnetResult
from pipeline.reports.summary import Approach, dip_window, measured_on, spread
from pipeline.tracking.metrics import Series

# Okabe and Ito's palette, told apart with any colour vision; markers repeat the distinction for print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
# Name and dashes of what is measured in training: by the slots that train it.
_NETWORKS: dict[str, tuple[str, Any]] = {
    "full": ("full model", "-"),
    "smallest": ("smallest subnet", "--"),
    "random": ("random subnets", ":"),
}
PHASE_COLOURS = ("#4C78A8", "#9ECAE9", "#F2A65A", "#8C6D9E", "#E0C97F", "#6FB7B7", "#A0785A")
CATEGORY_COLOURS = {  # of what is no phase
    "evaluation": "#7FB08A",
    "checkpoint": "#B8A1CF",
    "data wait": "#C44E52",
    "idle": "#D5D9DE",
}
POINTS = 250  # of a curve; more cannot be told apart at this width

_STYLE = {
    "font.size": 10,
    "ytick.color": "#5b6675",
    "legend.fontsize": 9,
    "svg.hashsalt": "report",
}


class Looks:
    """Colour and marker of each approach."""

    def __init__(self, approaches: Sequence[Approach]) -> None:
        self._index = {approach.name: index for index, approach in enumerate(approaches)}

    def colour(self, approach: Approach) -> str:
        """The approach's colour."""
        return COLOURS[self._index[approach.name] % len(COLOURS)]

    def marker(self, approach: Approach) -> str:
        """The approach's marker."""
        return MARKERS[self._index[approach.name] % len(MARKERS)]


def _draw(path: Path, draw: Callable[[Axes], None], height: float = 3.7) -> Path:
    with svg_figure(path, (5.8, height), _STYLE) as figure:
        draw(figure.add_subplot())
    return path


def macs_plot(path: Path, approaches: Sequence[Approach], looks: Looks) -> Path:
    """Held-out top-1 of the evaluated subnets against their MACs: mean over seeds, and a band of ± one deviation.

    The Pareto row is a line; other subnets are hollow markers beside it.
    """

    def draw(axes: Axes) -> None:
        for approach in approaches:
            colour, marker = looks.colour(approach), looks.marker(approach)
            x, means, deviations = _by_macs([run.pareto for run in approach.runs])
            axes.fill_between(x, means - deviations, means + deviations, color=colour, alpha=0.18, linewidth=0)
            axes.plot(x, means, color=colour, marker=marker, markersize=5, label=label(approach.name))
            x, means, deviations = _by_macs([run.others for run in approach.runs])
            axes.errorbar(x, means, deviations, fmt=marker, color=colour, markerfacecolor="white", markersize=5)
        axes.set_xlabel("million MACs per image")
        axes.set_ylabel("held-out top-1 (%)")
        axes.legend(loc="lower right")

    return _draw(path, draw)


def _by_macs(results: Sequence[Sequence[SubnetResult]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Million MACs, mean and deviation over the runs of each subnet's top-1, by ascending MACs."""
    points: dict[tuple[int, str], list[float]] = {}
    for run in results:
        for subnet in run:
            points.setdefault((subnet.macs, subnet.subnet), []).append(subnet.top1)
    found = [(macs, each) for (macs, _), values in sorted(points.items()) if (each := spread(values))]
    return (
        np.array([macs / 1e6 for macs, _ in found]),
        np.array([each.mean for _, each in found]),
        np.array([each.deviation or 0.0 for _, each in found]),
    )


def curves_plot(
    path: Path, approach: Approach, looks: Looks, kind: str, quantity: str, limits: tuple[float, float] | None
) -> Path:
    """One approach's `loss/…` or `acc/…` over epochs, mean over seeds and each seed, with the phases marked."""

    def draw(axes: Axes) -> None:
        colour = looks.colour(approach)
        for network in networks(approach):
            name, dashes = _NETWORKS.get(network, (network, "-."))
            metric = f"{kind}/{network}"
            found = [(run, run.metrics[metric]) for run in approach.runs if metric in run.metrics]
            if not found:
                continue
            curves = [_thinned(run.epochs(series), series.values) for run, series in found]
            if len(curves) > 1:
                for x, y in curves:
                    axes.plot(x, y, dashes, color=colour, alpha=0.25, linewidth=0.8)
            x, y = _mean_curve(curves)
            axes.plot(x, y, dashes, color=colour, linewidth=1.7, label=name)
        if limits is not None:
            axes.set_ylim(*limits)
        axes.set_xlim(0, max(run.info.epochs for run in approach.runs))
        _mark_phases(axes, approach.runs[0])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(quantity)
        axes.legend(loc="upper right" if kind == "loss" else "lower right")

    return _draw(path, draw)


def networks(approach: Approach) -> list[str]:
    """What was measured in training: the full model and the smallest subnet, and whatever else slots train."""
    slots = (slot for run in approach.runs for phase in run.phases for slot in phase.slots)
    return list(dict.fromkeys([*_NETWORKS, *slots]))


def _mark_phases(axes: Axes, run: RunRecord) -> None:
    """A line at each boundary, and each phase's name above its stretch (beside it, where the stretch is too short)."""
    last = run.info.epochs
    above = axes.get_xaxis_transform()  # x in epochs, y in parts of the axes' height
    row = 0
    for phase in run.phases:
        start, end = phase.start / run.info.steps_per_epoch, phase.end / run.info.steps_per_epoch
        if phase.start > 0:
            axes.axvline(start, color="#5b6675", linewidth=0.9, linestyle=(0, (4, 3)))
        short = end - start < 0.18 * last
        row = 1 - row if short else 0  # a short phase's name would run into its neighbours'
        axes.text(
            (start + end) / 2,
            1.02 + 0.06 * row,
            label(phase.name),
            transform=above,
            ha="center",
            va="bottom",
            fontsize=8.5,
            color="#5b6675",
        )


def cost_plot(
    path: Path, approaches: Sequence[Approach], looks: Looks, cost: Callable[[RunRecord], Series | None], quantity: str
) -> Path:
    """Accuracy in training against what the ledger told of the cost by then, each seed a line."""

    def draw(axes: Axes) -> None:
        ends = []
        for approach in approaches:
            for run in approach.runs:
                for network in ("full", "smallest"):
                    series, spent = run.metrics.get(f"acc/{network}"), cost(run)
                    if series is None or spent is None:
                        continue
                    ends.append(float(series.values[-1]))
                    by_then = np.interp(series.steps, spent.steps, spent.values)
                    axes.plot(
                        by_then,
                        series.values,
                        _NETWORKS[network][1],
                        color=looks.colour(approach),
                        linewidth=1.3,
                        alpha=0.8 if len(approach.runs) > 1 else 1.0,
                    )
        if ends:
            # what separates approaches lies at the top; the climb there would flatten it
            axes.set_ylim(bottom=max(0.0, min(ends) - 25))
        axes.set_xlim(left=0)
        if axes.get_xlim()[1] >= 1e6:  # MACs: 10 T rather than a power of ten in the corner
            axes.xaxis.set_major_formatter(EngFormatter())
        axes.set_xlabel(f"cost so far ({quantity})")
        axes.set_ylabel(f"{measured_on(approaches)} top-1 (%)")
        lines = [*_approach_lines(approaches, looks), *_network_lines("full", "smallest")]
        axes.legend(handles=lines, loc="lower right")

    return _draw(path, draw)


def ends_plot(
    path: Path,
    approaches: Sequence[Approach],
    looks: Looks,
    cost: Callable[[RunRecord], float | None],
    accuracy: Callable[[RunRecord], float | None],
    quantity: str,
    measured: str,
) -> Path:
    """What runs came to against what they cost in all: a faint marker for each run, and the mean of each approach with
    ± one deviation."""

    def draw(axes: Axes) -> None:
        most = 0.0
        for approach in approaches:
            found = [(cost(run), accuracy(run)) for run in approach.runs]
            points = [(spent, reached) for spent, reached in found if spent is not None and reached is not None]
            x, y = spread([spent for spent, _ in points]), spread([reached for _, reached in points])
            if x is None or y is None:
                continue
            most = max(most, *(spent for spent, _ in points))
            colour, marker = looks.colour(approach), looks.marker(approach)
            if len(points) > 1:
                axes.plot(*zip(*points, strict=True), marker, color=colour, alpha=0.45, markersize=5, markeredgewidth=0)
            bars = {"xerr": x.deviation, "yerr": y.deviation, "elinewidth": 1.0}
            axes.errorbar(x.mean, y.mean, fmt=marker, color=colour, markersize=7, label=label(approach.name), **bars)
        axes.margins(y=0.12)
        if most:
            axes.set_xlim(0, 1.12 * most)  # from 0, so that costs that are the same look so
        if axes.get_xlim()[1] >= 1e6:
            axes.xaxis.set_major_formatter(EngFormatter())
        axes.set_xlabel(quantity)
        axes.set_ylabel(measured)
        axes.legend(loc="best")

    return _draw(path, draw)


def shrink_plot(path: Path, approaches: Sequence[Approach], looks: Looks) -> Path:
    """The full model's held-out accuracy around the start of shrinking, by epochs from there."""

    def draw(axes: Axes) -> None:
        lowest, highest, left, right = [], [], [0.0], [0.0]
        for approach in approaches:
            colour = looks.colour(approach)
            curves = [curve for run in approach.runs if (curve := _around_shrinking(run)) is not None]
            for x, y in curves:
                if len(curves) > 1:
                    axes.plot(x, y, color=colour, alpha=0.3, linewidth=0.8)
                lowest.append(np.nanmin(y, initial=100.0))
                highest.append(np.nanmax(y, initial=0.0))
                left.append(x[0])
                right.append(x[-1])
            if curves:
                x, y = _mean_curve(curves)
                # at the edge of the axes a marker is not cut in half
                marks = {"marker": looks.marker(approach), "markersize": 4, "clip_on": False, "zorder": 3}
                axes.plot(x, y, color=colour, label=label(approach.name), **marks)
        if not highest:
            return
        margin = 0.08 * max(1.0, max(highest) - min(lowest))
        axes.set_ylim(min(lowest) - margin, min(100.0, max(highest) + margin))
        if min(left) < max(right):
            axes.set_xlim(min(left), max(right))
        axes.axvline(0, color="#5b6675", linewidth=0.9, linestyle=(0, (4, 3)))
        axes.text(
            0,
            1.02,
            "shrinking begins",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8.5,
            color="#5b6675",
        )
        axes.set_xlabel("epochs from the start of shrinking")
        axes.set_ylabel(f"full model, {measured_on(approaches)} top-1 (%)")
        axes.legend(loc="best")

    return _draw(path, draw)


def _around_shrinking(run: RunRecord) -> tuple[np.ndarray, np.ndarray] | None:
    """Epochs from the start of shrinking, and the full model's accuracy there.

    It reaches back as far as the dip's window reaches on; and to the last measurement before the start, however early:
    the dip is counted from it.
    """
    window, series = dip_window(run), run.metrics.get("acc/full")
    if window is None or series is None:
        return None
    start, end = window
    first = min([2 * start - end, *series.steps[series.steps <= start][-1:]])
    near = (series.steps >= first) & (series.steps <= end)
    if not near.any():
        return None
    return (series.steps[near] - start) / run.info.steps_per_epoch, series.values[near]


def category_plot(path: Path, rows: Mapping[str, Mapping[str, float]], phases: Sequence[str], unit: str) -> Path:
    """Stacked bars of mean hours by category, one bar per approach: the phases in their order, then the rest."""
    colours = {name: PHASE_COLOURS[place % len(PHASE_COLOURS)] for place, name in enumerate(phases)}
    colours |= CATEGORY_COLOURS

    def draw(axes: Axes) -> None:
        names = list(dict.fromkeys([*colours, *(name for row in rows.values() for name in row)]))
        left = np.zeros(len(rows))
        positions = np.arange(len(rows))
        for name in names:
            widths = np.array([row.get(name, 0.0) for row in rows.values()])
            if widths.any():
                colour = colours.get(name, "#8a94a0")
                axes.barh(positions, widths, left=left, height=0.55, color=colour, label=label(name))
                left += widths
        axes.set_yticks(positions, [label(name, 45) for name in rows])
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(unit)
        # The figure's legend, not the axes', which would be cut off where the axes begin far right of long names.
        figure = axes.get_figure(root=True)
        assert figure is not None
        figure.legend(loc="outside lower center", ncols=4, columnspacing=1.2, handlelength=1.2)

    return _draw(path, draw, height=1.7 + 0.45 * len(rows))


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighbouring points, so that at most `POINTS` remain."""
    if len(x) <= POINTS:
        return x, y
    parts = np.array_split(np.arange(len(x)), POINTS)
    return np.array([x[part].mean() for part in parts]), np.array([y[part].mean() for part in parts])


def _mean_curve(curves: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over seeds at the x of the longest curve; a seed counts as far as it was measured."""
    x = max((curve[0] for curve in curves), key=len)
    aligned = [np.interp(x, seed_x, seed_y, left=np.nan, right=np.nan) for seed_x, seed_y in curves if len(seed_x)]
    means = [spread([float(v) for v in column if not np.isnan(v)]) for column in np.array(aligned).T]
    return x, np.array([np.nan if mean is None else mean.mean for mean in means])


def _approach_lines(approaches: Sequence[Approach], looks: Looks) -> list[Line2D]:
    return [Line2D([], [], color=looks.colour(approach), label=label(approach.name)) for approach in approaches]


def _network_lines(*networks: str) -> list[Line2D]:
    lines = []
    for network in networks:
        name, dashes = _NETWORKS[network]
        lines.append(Line2D([], [], color="#5b6675", linestyle=dashes, label=name))
    return lines


def common_limits(series: Sequence[Series], highest: float | None) -> tuple[float, float] | None:
    """Limits that all these curves fit in, so that figures beside each other compare; never above `highest`."""
    values = np.concatenate([s.values[np.isfinite(s.values)] for s in series]) if series else np.array([])
    if not values.size:
        return None
    margin = 0.04 * max(1.0, float(np.ptp(values)))
    top = float(values.max()) + margin
    return float(values.min()) - margin, top if highest is None else min(top, highest)
