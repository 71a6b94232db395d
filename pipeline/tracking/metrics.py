"""`metrics.jsonl`: every figure a run measured, one strict JSON row per line, in the order it was measured.

The file is the truth about a run; MLflow gets a copy of it. It is only ever appended to: a run that is killed and
resumed from an earlier checkpoint measures some steps twice, and the row written last holds. Each row ends with the
CRC-32 of what is before it; those of earlier versions lack it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_shards.one_line import shown
from data_shards.store.regular_file import open_regular
from pipeline.files.json_file import DamagedError, in_json
from pipeline.files.sealed_line import is_torn, sealed, unsealed
from pipeline.files.whole_file import failures_named

_LAST_BYTES = 1 << 16  # of the file, in which the last row certainly is
_LONGEST_LINE = 1 << 20  # bytes
_ROW_START = '{"step": '  # every row begins so
_KEYS = {"step", "time", "metrics"}
_END_OF_TIME = 1e11  # Unix seconds, some 3000 years from now


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
        # Unbuffered: what a full disk does not take is not kept, to fail again at closing.
        self._file = os.fdopen(open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), "ab+", buffering=0)
        if self._ends_within_a_row():
            self._write(b"\n")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append one row and hand it to the operating system, where the end of this process cannot undo it.

        Raises:
            OSError: naming the file; a part of the row may be in it.
        """
        values = {name: in_json(float(value)) for name, value in metrics.items()}
        row = {"step": int(step), "time": time.time(), "metrics": values}
        self._write((sealed(row) + "\n").encode())

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

    def _ends_within_a_row(self) -> bool:
        if not self._file.seek(0, os.SEEK_END):
            return False
        self._file.seek(-1, os.SEEK_END)
        return self._file.read(1) != b"\n"

    def _write(self, content: bytes) -> None:
        with failures_named(self.path):
            while content:  # the last of a disk's space takes a part of a row
                content = content[self._file.write(content) :]


def parse_row(line: str) -> Row | None:
    """One line of a metrics file; None for an empty line and for a row torn by a kill or a loss of power.

    Raises:
        ValueError: the line is no row of metrics, or a damaged one; the message says what is wrong.
    """
    line = line.strip().rstrip("\0")  # a file may come out of a loss of power with zeros for what was not yet written
    try:
        content = unsealed(line)
    except DamagedError as damage:
        if is_torn(line, _ROW_START):
            return None
        raise ValueError(f"not a row of metrics, {damage}: {shown(line)}") from None
    row = _row(content) if content.keys() == _KEYS else None
    if row is None:
        raise ValueError(f"a row needs step, time and metrics (numbers), and nothing else: {shown(line)}")
    return row


def _row(content: Mapping[str, Any]) -> Row | None:
    try:
        step, taken = content["step"], float(content["time"])
        metrics = {name: float(value) for name, value in content["metrics"].items()}
    except (TypeError, AttributeError, ValueError):
        return None
    return Row(step, taken, metrics) if type(step) is int and step >= 0 and 0 <= taken < _END_OF_TIME else None


def read_rows(path: Path) -> Iterator[Row]:
    """The whole rows of a metrics file, in the order in which they were measured.

    Raises:
        MetricsError: the file cannot be read, or a line of it is no row of metrics.
    """
    try:
        with open(open_regular(path), "rb") as file:
            lines = iter(lambda: file.readline(_LONGEST_LINE), b"")
            for number, line in enumerate(lines, start=1):
                try:
                    row = parse_row(line.decode("ascii", errors="replace"))
                except ValueError as error:
                    raise MetricsError(
                        f"{path}, line {number}: {error}; restore it from a copy, or remove the line"
                    ) from None
                if row is not None:
                    yield row
    except OSError as error:
        raise MetricsError(f"{path}: cannot be read ({error.strerror}); restore it from a copy") from None


def last_step(path: Path) -> int:
    """The step of the last whole row of a metrics file, 0 where there is none.

    Raises:
        MetricsError: the file cannot be read, or its last line is no row of metrics.
    """
    try:
        with open(open_regular(path), "rb") as file:
            skipped = max(0, os.fstat(file.fileno()).st_size - _LAST_BYTES)
            file.seek(skipped)
            lines = file.read(_LAST_BYTES).decode("ascii", errors="replace").split("\n")[bool(skipped) :]
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise MetricsError(f"{path}: cannot be read ({error.strerror}); restore it from a copy") from None
    for line in reversed(lines):
        try:
            row = parse_row(line)
        except ValueError as error:
            raise MetricsError(f"{path}: {error}") from None
        if row is not None:
            return row.step
    return 0


def lost_rows(path: Path, step: int) -> str | None:
    """A line on what a file lacks of a run that has done `step` steps; None where it lacks nothing.

    Every checkpoint comes after the row of its step, so a file that ends before was cut by something else than a kill.
    """
    try:
        last = max((row.step for row in read_rows(path)), default=0) if path.exists() else 0
    except MetricsError as error:
        return str(error)
    return None if last >= step else f"{path}: ends at step {last}; what was measured from there to step {step} is lost"


def read_metrics(path: Path) -> dict[str, Series]:
    """All metrics of a file by name. For a step measured twice (after a resume) the last row holds.

    Raises:
        MetricsError: the file cannot be read, or a line is no row of metrics (a row torn by a kill is passed over).
    """
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for row in read_rows(path):
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
