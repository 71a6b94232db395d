"""Figures as SVG files that depend on what is drawn alone: not on the user's settings of Matplotlib. Text is literal.

The only place that imports Matplotlib: even that reads settings, and a notebook's `MPLBACKEND` is an error to a program
without the notebook's packages.
"""

from __future__ import annotations

import io
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_shards.one_line import one_line, readable
from pipeline.errors import UsageError

_STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a94a0",
    "axes.labelcolor": "#1c2430",
    "xtick.color": "#5b6675",
    "axes.grid": True,
    "grid.color": "#e8ebef",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar is one
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Matplotlib has to say of settings, its cache and fonts."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            warnings.filterwarnings("ignore", "constrained_layout not applied")  # names too long for their figure
            yield
    finally:
        log.setLevel(level)


_settings = {name: os.environ.pop(name) for name in ("MPLBACKEND", "MATPLOTLIBRC") if name in os.environ}
try:
    with _quiet():
        import matplotlib
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
        from matplotlib.ticker import EngFormatter, LogFormatter, MaxNLocator, StrMethodFormatter
except Exception as error:  # settings that it cannot read, or no folder for its cache
    raise UsageError(
        f"Matplotlib cannot be imported: {one_line(error, 150)}; see its settings: MPLCONFIGDIR in the environment, "
        "a file matplotlibrc in the current folder or in ~/.config/matplotlib"
    ) from None
finally:
    os.environ.update(_settings)

__all__ = [
    "Axes",
    "EngFormatter",
    "Figure",
    "Line2D",
    "LogFormatter",
    "MaxNLocator",
    "StrMethodFormatter",
    "label",
    "svg_figure",
]

# All settings but the one that would choose a backend, which no figure of ours asks for.
_DEFAULTS = {name: value for name, value in dict(matplotlib.rcParamsDefault).items() if name != "backend"}


@contextmanager
def svg_figure(path: Path, size: tuple[float, float], style: Mapping[str, Any]) -> Iterator[Figure]:
    """A figure of `size` inches, which is written to `path` once it is drawn. The same one gives the same file.

    Args:
        style: settings of Matplotlib besides those that all our figures share; "svg.hashsalt" among them.

    Raises:
        OSError: where `path` cannot be written.
    """
    settings: dict[Any, Any] = {**_DEFAULTS, **_STYLE, **style}
    with _quiet(), matplotlib.rc_context(settings):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    # Texts are drawn as shapes; comments repeat them, and are of no use.
    path.write_text(re.sub(r" *<!-- .*? -->\n", "", drawn.getvalue(), flags=re.DOTALL), encoding="utf-8")


def label(name: str, most: int = 60) -> str:
    """A name that somebody chose, as text of a figure: in visible characters; of more than `most`, the ends.

    Names with an underscore first would be left out of legends.
    """
    text = readable(name)
    if len(text) > most:
        text = f"{text[: most // 2]}…{text[1 - most // 2 :]}"
    return f" {text}" if text.startswith("_") else text
