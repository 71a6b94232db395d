"""The figure of a search: all measured subnets, and the front among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.reports.figures import EngFormatter, label, svg_figure
from pipeline.reports.plots import COLOURS

_STYLE = {"font.size": 9, "axes.titlesize": 10, "svg.hashsalt": "front"}
_IMAGES = {"validation_top1": "validation", "test_top1": "test"}


def front_plot(
    path: Path,
    title: str,
    cost: str,
    measured: tuple[Sequence[float], Sequence[float]],
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
) -> None:
    """Accuracy against cost; on validation images with a line through, on those of the test split dashed.

    Args:
        cost: the axis's label.
        measured: costs and validation top-1, per cent, of all subnets that were measured; may be none.
        lines: by name, rows of `cost`, `validation_top1` and `test_top1`.
    """
    with svg_figure(path, (7, 4.2), _STYLE) as figure:
        axes = figure.add_subplot()
        if measured[0]:
            axes.plot(*measured, ".", color="#c3cad3", markersize=4, label="measured, validation")
        for (name, rows), colour in zip(lines.items(), COLOURS, strict=False):
            for key, images in _IMAGES.items():
                style = "o-" if images == "validation" else "s--"
                points = [row[key] for row in rows]
                axes.plot(
                    [row["cost"] for row in rows],
                    points,
                    style,
                    color=colour,
                    markersize=3,
                    linewidth=1,
                    label=f"{name}, {images}",
                )
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.set_xlabel(cost)
        axes.set_ylabel("top-1 (%)")
        axes.legend(loc="lower right")
        figure.suptitle(label(title, 200), fontsize=10)
