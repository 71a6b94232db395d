"""What the page tells of a part's output: tests passed and left out, medians of operations, steps, a training.

All raise OSError or ValueError where the output is not whole.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pipeline.run.layout import LEDGER, METRICS
from pipeline.tracking.ledger import read_ledger
from pipeline.tracking.metrics import Series, read_metrics

_NOT_OK = ("failure", "error")


def tests(report: Path) -> list[str]:
    """Of pytest's report in JUnit's XML: how many, which failed, and why others were left out."""
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    except ElementTree.ParseError as error:
        raise ValueError(f"{report}: {error}") from None
    failed = [case for case in cases if any(case.find(kind) is not None for kind in _NOT_OK)]
    skipped = Counter(each.get("message", "") for case in cases if (each := case.find("skipped")) is not None)
    passed = len(cases) - len(failed) - skipped.total()
    return [
        f"{passed} tests passed, {len(failed)} failed, {skipped.total()} were left out.",
        *_list(f"failed: `{case.get('classname')}::{case.get('name')}`" for case in failed),
        *_list(f"left out, {count}: {reason}" for reason, count in skipped.items()),
    ]


def operations(output: Path) -> list[str]:
    """Of `deps bench kernels --json`: for each operation and direction the medians over its shapes."""
    found = _json(output)
    by_kind: dict[str, list[Mapping[str, Any]]] = {}
    for row in found["operations"]:
        by_kind.setdefault(f"{row['operation']}, {row['direction']}", []).append(row)
    heading = ("operation", "shapes", "wrong", "eager ÷ ours", "least", "OFA style ÷ ours", "floor ÷ ours")
    rows = []
    for kind, of_kind in by_kind.items():
        right = [row for row in of_kind if row["status"] == "ok"]
        eager = [row["strong_eager_ratio"] for row in right if "strong_eager_ratio" in row]
        ofa = [row["ofa_style_ratio"] for row in right if "ofa_style_ratio" in row]
        floor = [row["floor_seconds"] / row["ours_seconds"] for row in right if "floor_seconds" in row]
        figures = (_median(eager), _figure(min(eager, default=None)), _median(ofa), _median(floor))
        rows.append((kind, len(of_kind), len(of_kind) - len(right), *figures))
    copy, matrix = found["copy_bytes_per_second"] / 1e9, found["matrix_flops_per_second"] / 1e12
    about = f"{found['network']}, {found['resolution_px']} px, batch {found['batch_size']}, {found['precision']}"
    limits = f"copy {copy:,.0f} GB/s, products {matrix:,.0f} TFLOP/s"
    return [f"{about}, kernels {found['kernels']}; {limits}. Medians over shapes.", "", *_table(heading, rows)]


def steps(output: Path) -> list[str]:
    """Of `deps bench step --json`: the contenders."""
    found = _json(output)
    heading = ("contender", "check", "s/step", "images/s", "× ours", "peak memory, GiB")
    rows = []
    for row in found["contenders"]:
        peak = row.get("peak_memory_bytes")
        figures = [_figure(row.get(name)) for name in ("seconds_per_step", "images_per_second", "ratio")]
        rows.append((row["contender"], row["status"], *figures, _figure(None if peak is None else peak / 2**30)))
    sizes = ", ".join(str(each) for each in dict.fromkeys(row["batch_size"] for row in found["contenders"]))
    about = f"{found['network']}, {found['resolution_px']} px, batch {sizes}"
    return [f"{about}: medians of {found['repeats']} steps.", "", *_table(heading, rows)]


def shards(output: Path) -> list[str]:
    """Of `deps shards pack`: its last line."""
    lines = output.read_text(encoding="utf-8").strip().splitlines()
    if not lines:
        raise ValueError(f"{output}: is empty")
    return [lines[-1]]


def training(run: Path) -> list[str]:
    """Of a run's folder: how fast it was, how long it waited, how good it got."""
    series = read_metrics(run / METRICS)
    (segment,) = read_ledger(run / LEDGER).segments
    speed, wait = series["speed/images_per_second"], series["data/wait_fraction"]
    # The first line tells of starting, too.
    later = f"{_median(speed.values[1:])} images/s, {_median(100 * wait.values[1:])} % of the time waiting for data"
    accuracy = ", ".join(f"{name} {_last(series, f'acc/{name}')} %" for name in ("full", "smallest"))
    return [
        f"{int(speed.steps[-1])} steps; {later} (medians of lines of the log after the first); the reader's start and "
        f"all waits {segment.seconds['data_wait']:.1f} s of {segment.held:.0f} s; held-out accuracy: {accuracy}."
    ]


def _json(output: Path) -> dict[str, Any]:
    """A benchmark's output; of what another program wrote in its place no figure is taken."""
    found = json.loads(output.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{output}: is no object")
    return found


def _last(series: Mapping[str, Series], name: str) -> str:
    return f"{series[name].values[-1]:.1f}"


def _median(values: Iterable[float]) -> str:
    values = list(values)
    return _figure(statistics.median(values) if values else None)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _list(lines: Iterable[str]) -> list[str]:
    return [f"- {' '.join(line.split())}" for line in lines]


def _table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return ["| " + " | ".join(str(cell) for cell in line) + " |" for line in lines]
