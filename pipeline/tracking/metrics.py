"""`metrics.jsonl`: every figure a run measured, one strict JSON row per line, in the order it was measured.

The file is the truth about a run; MLflow gets a copy of it. It is only ever appended to: a run that is killed and
resumed from an earlier checkpoint measures some steps twice, and the row written last holds.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.whole_file import failures_named

_LAST_BYTES = 1 << 16  # of the file, in which the last row certainly is
ROW_START = '{"step": '  # every row begins so; what does so without ending is a row torn by a kill


class MetricsError(ValueError):
    """A metrics file that is not one; the message names file and line."""


class Row(NamedTuple):
    """What was measured at one step."""

    step: int
    time: float  # Unix seconds
    metrics: dict[str, float]


class Series(NamedTuple):
    """One metric over a run, each of shape [n], by ascending step."""

    steps: np.ndarray  # int64
    values: np.ndarray  # float64
    times: np.ndarray  # float64, Unix seconds


class MetricsLog:
    """Appends rows to a metrics file; opening it terminates a row that a kill left half written.

    Raises:
        OSError: the file cannot be opened or written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        torn = _ends_within_a_row(path)
        # Unbuffered: what a full disk does not take is not kept, to fail again at closing.
        self._file = path.open("ab", buffering=0)
        if torn:
            self._write(b"\n")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one row and hand it to the operating system, where the end of this process cannot undo it.

        Raises:
            OSError: naming the file; a part of the row may be in it.
        """
        values = {name: _to_json(float(value)) for name, value in metrics.items()}
        row = {"step": int(step), "time": time.time(), "metrics": values}
        self._write((json.dumps(row, allow_nan=False) + "\n").encode())

    def sync(self) -> None:
        """Have the rows so far outlive the machine as well, not only this process.

        Raises:
            OSError: naming the file.
        """
        with failures_named(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, content: bytes) -> None:
        with failures_named(self.path):
            while content:  # the last of a disk's space takes a part of a row
                content = content[self._file.write(content) :]


def _ends_within_a_row(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) != b"\n"


def _to_json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # "nan", "inf", "-inf"


def parse_row(line: str) -> Row | None:
    """One line of a metrics file; None for an empty line and for a row torn by a kill or a loss of power.

    Raises:
        ValueError: the line is no row of metrics; the message says what is wrong.
    """
    line = line.strip().rstrip("\0")  # a file may come out of a loss of power with zeros for what was not yet written
    try:
        content: Any = json.loads(line)
    except json.JSONDecodeError:
        if line.startswith(ROW_START) or ROW_START.startswith(line):
            return None
        raise ValueError(f"not a row of metrics: {line[:60]!r}") from None
    try:
        metrics = {str(name): float(value) for name, value in content["metrics"].items()}
        return Row(int(content["step"]), float(content["time"]), metrics)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ValueError(f"a row needs step, time and metrics (numbers): {line[:60]!r}") from None


def last_step(path: Path) -> int:
    """The step of the last whole row of a metrics file, 0 where there is none.

    Raises:
        MetricsError: the last line is no row of metrics.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LAST_BYTES))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return 0
    for line in reversed(lines):
        try:
            row = parse_row(line)
        except ValueError as error:
            raise MetricsError(f"{path}: {error}") from None
        if row is not None:
            return row.step
    return 0


def lost_rows(path: Path, step: int) -> str | None:
    """A line on what a file lacks of a run that has a checkpoint of `step`; None where it lacks nothing.

    Every checkpoint comes after the row of its step, so a file that ends before was cut by something else than a kill.
    """
    try:
        last = last_step(path)
    except MetricsError as error:
        return str(error)
    return None if last >= step else f"{path}: ends at step {last}; what was measured from there to step {step} is lost"


def read_metrics(path: Path) -> dict[str, Series]:
    """All metrics of a file by name. For a step measured twice (after a resume) the last row holds.

    Raises:
        MetricsError: a line is no row of metrics (a row torn by a kill is passed over).
        OSError: the file cannot be read.
    """
    found: dict[str, dict[int, tuple[float, float]]] = {}
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = parse_row(line)
            except ValueError as error:
                raise MetricsError(f"{path}, line {number}: {error}") from error
            if row is not None:
                for name, value in row.metrics.items():
                    found.setdefault(name, {})[row.step] = (value, row.time)
    series = {}
    for name, by_step in found.items():
        steps = sorted(by_step)
        series[name] = Series(
            np.array(steps, dtype=np.int64),
            np.array([by_step[step][0] for step in steps], dtype=np.float64),
            np.array([by_step[step][1] for step in steps], dtype=np.float64),
        )
    return series
