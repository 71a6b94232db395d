"""The ledger: what a run cost so far, over all its restarts.

The unit of cost is accelerators × wall-clock hours held (GPU hours), summed over every start of the run. Time in which
the accelerators waited, evaluated or saved is held as well, so it is in the total and shown by category.

Beside it the multiply-accumulates of training are counted, which do not depend on the machine: those of each step that
was trained, again where a restart trained it again (`pipeline.methods.work` says what counts).
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psutil

from data_shards.one_line import shown
from data_shards.store.regular_file import read_regular
from pipeline.errors import RunFailure
from pipeline.files.json_file import read_json, write_json
from pipeline.files.whole_file import DamagedError
from pipeline.run.layout import HELD

GPU_HOURS = "GPU hours"
CPU_PROCESS_HOURS = "CPU process hours"
IDLE = "idle"
UNITS = {"cuda": GPU_HOURS, "cpu": CPU_PROCESS_HOURS}  # by torch's device type
TRAINING_MACS = "cost/training_macs"  # the metric
_FOREVER = 1e11  # seconds; more is no time that anything took
_MOST_NOTES = 1 << 24  # bytes


class LedgerError(RunFailure):
    """A ledger file that cannot be read or continued; the message names the file and the reason."""


def unit_for(device_type: str) -> str:
    """The ledger's unit for a torch device type: GPU hours on "cuda", CPU process hours on "cpu".

    Raises:
        ValueError: for any other device type, so that no unknown device is passed off as one of the two.
    """
    if device_type not in UNITS:
        raise ValueError(f"no unit of cost for device type {device_type!r}; known: {', '.join(UNITS)}")
    return UNITS[device_type]


def cost_metric(unit: str) -> str:
    """The metric that holds a run's hours so far: `cost/gpu_hours` or `cost/cpu_process_hours`, never one for both."""
    return f"cost/{unit.lower().replace(' ', '_')}"


def process_start_time() -> float:
    """When this process was started, in Unix seconds: imports and set-up before the ledger exists cost money too."""
    return psutil.Process().create_time()


def held_since() -> float:
    """Since when this start holds its accelerators, in Unix seconds.

    A job tells when it got them (`DEPS_HELD_SINCE`), as launchers take their time too; else it is this process's start.

    Raises:
        LedgerError: what the job tells is no time, or lies in the future.
    """
    told = os.environ.get("DEPS_HELD_SINCE")
    if told is None:
        return process_start_time()
    try:
        since = float(told)
    except ValueError:
        since = math.nan
    if not 0 < since <= time.time():
        raise LedgerError(f"environment variable DEPS_HELD_SINCE: '{told}' is no Unix time in seconds that is past")
    return since


@dataclass(frozen=True)
class Segment:
    """One start of the run: from the start of its processes to the last time the ledger was saved, or its job's end.

    Attributes:
        held: wall-clock seconds.
        seconds: of these, by category; what is in none is idle.
        training_macs: of all accelerators; None where an earlier version trained, which did not count them.
    """

    started: str  # ISO 8601, UTC
    accelerators: int
    held: float
    seconds: Mapping[str, float] = field(default_factory=dict)
    training_macs: int | None = None

    @property
    def idle(self) -> float:
        """Seconds held in which nothing was charged: start-up, set-up, shutting down."""
        return max(0.0, self.held - sum(self.seconds.values()))


@dataclass(frozen=True)
class LedgerRecord:
    """A ledger as it stands in its file.

    Attributes:
        price_per_hour: dollars per accelerator hour.
        step: optimizer steps of which the figures were logged by then; 0 in files of earlier versions.
    """

    unit: str
    price_per_hour: float | None
    segments: tuple[Segment, ...]
    step: int = 0

    @property
    def hours(self) -> float:
        """Accelerators × hours held, over all segments, in the ledger's unit."""
        return sum(segment.accelerators * segment.held for segment in self.segments) / 3600

    @property
    def dollars(self) -> float | None:
        """The price of all hours at the price per hour last given; None when no price is known."""
        return None if self.price_per_hour is None else self.hours * self.price_per_hour

    @property
    def training_macs(self) -> int | None:
        """Multiply-accumulates of all steps trained; None where one of the starts did not count them."""
        counts = [segment.training_macs for segment in self.segments]
        return None if None in counts else sum(filter(None, counts))

    def hours_by_category(self) -> dict[str, float]:
        """Hours (accelerators × time) per category over all segments; `idle` comes last."""
        hours: dict[str, float] = {}
        for segment in self.segments:
            for category, seconds in segment.seconds.items():
                hours[category] = hours.get(category, 0.0) + segment.accelerators * seconds / 3600
        hours[IDLE] = sum(segment.accelerators * segment.idle for segment in self.segments) / 3600
        return hours

    def metrics(self) -> dict[str, float]:
        """What a run logs of its cost: the hours in all, under the name of their unit, their split, dollars, MACs."""
        metrics = {cost_metric(self.unit): self.hours}
        for category, hours in self.hours_by_category().items():
            metrics[f"cost/split/{category.replace(' ', '_')}"] = hours
        if self.dollars is not None:
            metrics["cost/dollars"] = self.dollars
        if self.training_macs is not None:
            metrics[TRAINING_MACS] = float(self.training_macs)
        return metrics

    def to_json(self) -> dict[str, Any]:
        """The ledger for a file or a checkpoint; MACs as text, as they may be more than 64 bits hold."""
        content = asdict(self)
        for segment in content["segments"]:
            if segment["training_macs"] is not None:
                segment["training_macs"] = str(segment["training_macs"])
        return content

    @staticmethod
    def from_json(content: Mapping) -> LedgerRecord:
        """The ledger that `to_json` gave, from a file or a checkpoint.

        Raises:
            LedgerError: `content` is no ledger, or holds impossible values.
        """
        try:
            if content["unit"] not in UNITS.values():
                raise ValueError(f"counts in {shown(content['unit'])}, known are {', '.join(UNITS.values())}")
            segments = tuple(_segment(entry) for entry in content["segments"])
            price = None if content["price_per_hour"] is None else float(content["price_per_hour"])
            if price is not None and not 0 <= price < math.inf:
                raise ValueError("the price per hour is no price")
            return LedgerRecord(content["unit"], price, segments, int(content.get("step", 0)))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)[:120]
            raise LedgerError(f"not a readable ledger ({reason})") from None


def read_ledger(path: Path) -> LedgerRecord:
    """Read a ledger file. Starts whose job has noted its end (`HELD`) are charged up to there: leaving takes time, too.

    Raises:
        LedgerError: the file is missing, is not a ledger, or holds impossible values; or the notes are damaged.
    """
    try:
        record = LedgerRecord.from_json(read_json(path))
    except OSError as error:
        raise LedgerError(f"{path}: cannot be read ({error.strerror}); restore it from a copy") from None
    except (DamagedError, LedgerError) as error:
        reason = error if isinstance(error, LedgerError) else f"not a readable ledger ({error})"
        raise LedgerError(
            f"{path}: {reason}; restore it from a copy, or move it away and go on with --resume"
        ) from None
    return replace(record, segments=tuple(_to_the_end(record.segments, path.with_name(HELD))))


def _to_the_end(segments: Iterable[Segment], notes: Path) -> Iterator[Segment]:
    """The segments with what jobs note that they held: for each start a line `SINCE UNTIL` in Unix seconds, and the sum
    of both, which earlier versions did not write."""
    held: dict[str, float] = {}
    try:
        text = read_regular(notes, _MOST_NOTES).decode("utf-8", errors="replace") if notes.exists() else ""
    except OSError as error:
        raise LedgerError(f"{notes}: cannot be read ({error.strerror}); remove it to do without its notes") from None
    for line in text.splitlines(keepends=True):
        try:
            since, until, *total = map(float, line.split())
            if not (line.endswith("\n") and 0 < since <= until < _FOREVER and total in ([], [since + until])):
                raise ValueError
            held[_started(since)] = until - since
        except (ValueError, OverflowError, OSError):
            raise LedgerError(
                f"{notes}: {shown(line.rstrip())} is not two times in Unix seconds; correct or remove the line"
            ) from None
    for segment in segments:
        yield replace(segment, held=max(segment.held, held.get(segment.started, 0.0)))


def _started(since: float) -> str:
    return datetime.fromtimestamp(since, timezone.utc).isoformat(timespec="seconds")


def _segment(entry: Mapping) -> Segment:
    seconds = {str(category): float(value) for category, value in entry["seconds"].items()}
    macs = None if entry.get("training_macs") is None else int(entry["training_macs"])
    segment = Segment(str(entry["started"]), int(entry["accelerators"]), float(entry["held"]), seconds, macs)
    # `not <=` rather than `>`, so that NaN is refused as well
    times = (segment.held, *seconds.values())
    if segment.accelerators < 1 or not all(0 <= value < _FOREVER for value in times) or (macs or 0) < 0:
        raise ValueError(f"the segment started {shown(segment.started)} holds an impossible value")
    return segment


class Ledger:
    """The ledger of a running program: the segments of earlier starts, and one that grows.

    Args:
        path: `ledger.json` of the run; earlier segments in it are kept.
        accelerators: how many accelerators (on a CPU: processes) this start holds.
        unit: see `unit_for`.
        price_per_hour: dollars per accelerator hour, for all segments; None keeps the price in the file, if any.
        held_since: Unix seconds from which this start is charged (`held_since()`).
        earlier: what earlier starts cost as far as a checkpoint knows. It counts where there is no file, so that a
            file that got lost does not make the run look cheaper; the file itself knows more.

    Attributes:
        step: see `LedgerRecord`; for whoever logs to set.

    Raises:
        LedgerError: the file is corrupt, or counts in another unit.
    """

    def __init__(
        self,
        path: Path,
        accelerators: int,
        unit: str,
        price_per_hour: float | None,
        held_since: float,
        *,
        earlier: LedgerRecord | None = None,
    ) -> None:
        self.path = path
        self.step = 0
        self.unit = unit
        self.price_per_hour = price_per_hour
        self._earlier: tuple[Segment, ...] = ()
        before = read_ledger(path) if path.exists() else earlier
        if before is not None:
            if before.unit != unit:
                raise LedgerError(
                    f"{path}: counts {before.unit}, this start would count {unit}, and the two do not add up; "
                    "continue on the same kind of device, or start a run with another name"
                )
            self._earlier = before.segments
            self.price_per_hour = before.price_per_hour if price_per_hour is None else price_per_hour
        self._accelerators = accelerators
        self._started = _started(held_since)
        # The wall clock is asked once; from here on only the monotonic one, which no clock correction moves.
        self._mark = time.monotonic()
        self._held_from = self._mark - max(0.0, time.time() - held_since)
        self._seconds: dict[str, float] = {}
        self._macs = 0
        self._open: list[str] = []

    @contextmanager
    def charge(self, category: str) -> Iterator[None]:
        """Charge the time spent inside to `category`. A charge inside a charge pauses the outer one."""
        self._settle()
        self._open.append(category)
        try:
            yield
        finally:
            self._settle()
            self._open.pop()

    def count(self, macs: int) -> None:
        """Count the multiply-accumulates of a step, over all accelerators."""
        self._macs += macs

    def _settle(self) -> None:
        """Credit the time since the last mark to the innermost open charge."""
        now = time.monotonic()
        if self._open:
            category = self._open[-1]
            self._seconds[category] = self._seconds.get(category, 0.0) + now - self._mark
        self._mark = now

    def record(self) -> LedgerRecord:
        """The ledger as of now, open charges included."""
        self._settle()
        seconds = {category: max(0.0, value) for category, value in self._seconds.items()}
        current = Segment(self._started, self._accelerators, self._mark - self._held_from, seconds, self._macs)
        return LedgerRecord(self.unit, self.price_per_hour, (*self._earlier, current), self.step)

    def save(self) -> None:
        """Write the file, whole or not at all. Call it often: what is not saved at a SIGKILL was paid, yet not counted.

        Raises:
            OSError: naming the file, which cannot be written; what was saved before stays.
        """
        write_json(self.path, self.record().to_json())
