"""Sending what a run folder holds to MLflow: once each, and from where the last sending ended.

`mlflow.json` remembers how far both files were sent and the last step sent of each metric. It is written after each
successful call; a call that succeeded without it being written is repeated, which MLflow's stores take as one.
"""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

from pydantic import NonNegativeInt, TypeAdapter

from data_shards.store.regular_file import open_regular
from pipeline.files.file_lock import try_lock
from pipeline.files.json_file import checked, read_json, write_json
from pipeline.files.sealed_line import is_torn
from pipeline.files.whole_file import DamagedError
from pipeline.run.layout import METRICS, MLFLOW, MLFLOW_LOCK, OUTBOX
from pipeline.tracking import outbox
from pipeline.tracking.ledger import UNITS, cost_metric
from pipeline.tracking.metrics import Row, parse_row
from pipeline.tracking.mlflow_run import (
    METRICS_PER_CALL,
    DeletedError,
    MlflowRun,
    Place,
    PlaceGoneError,
    Point,
    local_database,
)
from pipeline.tracking.tail import complete_lines

logger = logging.getLogger(__name__)

COSTS = tuple(cost_metric(unit) for unit in UNITS.values())  # a run has one of them
# Also sent with the cost as their step, so that MLflow draws accuracy against cost without a click.
BY_COST = ("acc/full", "acc/smallest", "acc/subnet")


class BusyError(RuntimeError):
    """Another process is sending this run folder."""


class NotTrackedError(RuntimeError):
    """The run folder has nothing for MLflow: it was trained without it."""


@dataclass
class State:
    """How far a run folder was sent, and where to."""

    uri: str
    experiment: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    run_id: str | None = None
    metrics_offset: NonNegativeInt = 0  # bytes of metrics.jsonl
    outbox_offset: NonNegativeInt = 0
    marks: dict[str, int] = field(default_factory=dict)  # the highest step sent of each metric
    hours: float | None = None  # the cost last seen

    def save(self, run_folder: Path) -> None:
        """Write `mlflow.json`, whole or not at all."""
        write_json(run_folder / MLFLOW, asdict(self))

    @staticmethod
    def load(run_folder: Path) -> State | None:
        """The saved state; None when there is none that can be read (all is sent again then, to a new run)."""
        try:
            return checked(read_json(run_folder / MLFLOW), TypeAdapter(State))
        except (OSError, DamagedError):
            return None


class Shipment:
    """Sends a run folder's metrics, then its outbox, in order. Not for two threads at once.

    Args:
        run_folder: holds `metrics.jsonl` and `outbox.jsonl`.
        stop: asked between calls; once it says yes, `send` returns early.
        experiment: to go on in, from here on, instead of the one that the run names. Where the run is not in it, or was
            deleted from it, a new one gets all of it.
    """

    def __init__(
        self, run_folder: Path, stop: Callable[[], bool] = lambda: False, experiment: str | None = None
    ) -> None:
        self._folder = run_folder
        self._stop = stop
        self._experiment = experiment
        self._lock: IO[str] | None = None
        self._run: MlflowRun | None = None
        self._state: State | None = None

    def send(self) -> bool:
        """Send what is not sent yet. True when nothing is left, False when told to stop before.

        Raises:
            BusyError: another process is sending this folder.
            NotTrackedError: the outbox holds no start of a run.
            DeletedError: the run or its experiment was deleted in MLflow.
            Exception: whatever MLflow or the network raise; what was sent by then stays so.
        """
        self._take_lock()
        try:
            run, state = self._open()
            return self._send_metrics(run, state) and self._send_outbox(run, state)
        except Exception as error:
            run, self._run = self._run, None  # opened anew at the next try: the server may come back without the run
            if run is not None:
                run.check_not_deleted(error)
            raise

    def has_more(self) -> bool:
        """Whether there is something to send, at the cost of a look at the file system."""
        if self._run is None or self._state is None:
            return True
        return self._size(METRICS) != self._state.metrics_offset or self._size(OUTBOX) != self._state.outbox_offset

    def release(self) -> None:
        """Let other processes send this folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _size(self, name: str) -> int:
        path = self._folder / name
        return path.stat().st_size if path.exists() else 0

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        # To read and write, as locks over NFS want.
        lock = os.fdopen(open_regular(self._folder / MLFLOW_LOCK, os.O_RDWR | os.O_CREAT), "w", encoding="utf-8")
        with suppress(OSError):  # a file system without locks: then nobody is kept away
            if not try_lock(lock):
                lock.close()
                raise BusyError(f"{self._folder}: another process is sending this run to MLflow")
        self._lock = lock

    def _open(self) -> tuple[MlflowRun, State]:
        if self._run is None or self._state is None:
            start = last_start(self._folder)
            known = State.load(self._folder)
            if known is None and (self._folder / MLFLOW).exists():
                logger.warning("%s: is damaged; all is sent again, to a new run of MLflow", self._folder / MLFLOW)
            try:
                self._run, self._state = self._enter(start, known)
            except DeletedError:
                if known is not None:
                    known.save(self._folder)  # once it is restored, it is gone on with
                raise
        return self._run, self._state

    def _enter(self, start: dict, state: State | None) -> tuple[MlflowRun, State]:
        """The run in MLflow that this one is known by, or a new one, and what it has."""
        place, experiment = Place(start["uri"], start["artifacts"]), self._experiment or start["experiment"]
        if state is None or state.experiment != experiment:
            state = self._begin(place, experiment)
        try:
            run = MlflowRun(place, experiment, start["name"], state.key, state.run_id)
        except DeletedError:
            if self._experiment is None or state.run_id is None:
                raise
            state = self._begin(place, experiment)
            run = MlflowRun(place, experiment, start["name"], state.key, None)
        if experiment != start["experiment"]:
            outbox.append(self._folder, "experiment", {"experiment": experiment})
        if run.run_id != state.run_id:  # new there, or lost and made anew: it needs everything from the beginning
            state = State(place.uri, experiment, state.key, run.run_id)
        state.uri = place.uri  # a database that was moved with its run in it is gone on with
        state.save(self._folder)
        return run, state

    def _begin(self, place: Place, experiment: str) -> State:
        state = State(place.uri, experiment)
        state.save(self._folder)  # the key must outlive a kill between creating the run and noting its id
        return state

    def _send_metrics(self, run: MlflowRun, state: State) -> bool:
        for batch in _batches(self._folder / METRICS, state):
            if self._stop():
                return False
            run.send_metrics(batch.points)
            state.metrics_offset, state.marks, state.hours = batch.offset, batch.marks, batch.hours
            state.save(self._folder)
        return True

    def _send_outbox(self, run: MlflowRun, state: State) -> bool:
        for line, offset in complete_lines(self._folder / OUTBOX, state.outbox_offset):
            if self._stop():
                return False
            entry = outbox.parse(line)
            if entry is None:  # told once: the next sending begins behind it
                logger.warning("%s: not sent to MLflow: not an entry: %r", self._folder / OUTBOX, line[:60])
            elif entry["kind"] == "run":
                run.start(entry["params"], entry["tags"])
            elif entry["kind"] == "artifact":
                self._send_artifact(run, entry)
            elif entry["kind"] == "status":
                run.finish(entry["status"])
            state.outbox_offset = offset
            state.save(self._folder)
        return True

    def _send_artifact(self, run: MlflowRun, entry: dict) -> None:
        path = self._folder / entry["path"]  # an absolute path stays itself
        if not (path.is_file() or path.is_dir()):
            logger.warning("%s is gone and cannot be sent to MLflow", path)
        elif outside := _outside(path, self._folder):
            logger.warning("%s is not in the run's folder %s and is not sent to MLflow", outside, self._folder)
        else:
            run.send_artifact(path, entry["folder"])


def _outside(path: Path, folder: Path) -> Path | None:
    """The first file of `path` that is not in `folder`, links followed.

    A run's folder tells both what to send and whereto: of one that came from elsewhere, no other file may leave.
    """
    root = folder.resolve()
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return next((file for file in files if not file.resolve().is_relative_to(root)), None)


class _Batch(NamedTuple):
    """Points that go in one call, and the state once they are there."""

    points: list[Point]
    offset: int
    marks: dict[str, int]
    hours: float | None


def _batches(path: Path, state: State) -> Iterator[_Batch]:
    points: list[Point] = []
    offset, marks, hours = state.metrics_offset, dict(state.marks), state.hours
    for line, line_end in complete_lines(path, offset):
        row = _row(path, line)
        if row is not None:
            new_hours = next((row.metrics[name] for name in COSTS if name in row.metrics), hours)
            new_points, new_marks = _points(row, marks, new_hours)
            if points and len(points) + len(new_points) > METRICS_PER_CALL:
                yield _Batch(points, offset, dict(marks), hours)
                points = []
            points += new_points
            marks.update(new_marks)
            hours = new_hours
        offset = line_end
    if offset != state.metrics_offset:
        yield _Batch(points, offset, marks, hours)


def _row(path: Path, line: str) -> Row | None:
    try:
        return parse_row(line)
    except ValueError as error:
        logger.warning("%s: not sent to MLflow: %s", path, error)
        return None


def _points(row: Row, marks: dict[str, int], hours: float | None) -> tuple[list[Point], dict[str, int]]:
    """The points of a row that are new: a resumed run measures steps again that were sent before."""
    milliseconds = int(row.time * 1000)
    points, new_marks = [], {}
    for name, value in row.metrics.items():
        if row.step <= marks.get(name, -1):
            continue
        points.append(Point(name, value, milliseconds, row.step))
        new_marks[name] = row.step
        if name in BY_COST and hours is not None:
            points.append(Point(f"acc_by_cost/{name.split('/')[-1]}", value, milliseconds, int(1000 * hours)))
    return points, new_marks


def last_start(run_folder: Path) -> dict:
    """The newest start of the run in its outbox: name, params, tags, uri, artifacts, and the experiment that holds now.

    Raises:
        NotTrackedError: there is none. PlaceGoneError: there was one, but it is lost.
    """
    start: dict | None = None
    experiment = ""
    for entry in _entries(run_folder):
        if entry["kind"] == "run":
            # A start that names the experiment of the start before does not undo what was chosen since.
            if start is None or entry["experiment"] != start["experiment"]:
                experiment = entry["experiment"]
            start = entry
        elif entry["kind"] == "experiment":
            experiment = entry["experiment"]
    if start is None and (run_folder / MLFLOW).exists():
        raise PlaceGoneError(
            f"{run_folder / OUTBOX}: tells no more where the run is tracked: it is damaged or not there; "
            "restore it from a copy"
        )
    if start is None:
        raise NotTrackedError(f"{run_folder}: this run was trained without MLflow, there is nothing to send")
    return {**start, "experiment": experiment}


def check_place(run_folder: Path) -> None:
    """Refuse to make a second local database where the first is only not found: that would split a project in two.

    Raises:
        NotTrackedError: the run has no place. PlaceGoneError: its database, or the project's folder, is not there.
    """
    database = local_database(last_start(run_folder)["uri"])
    if database is None or database.exists():
        return
    state = State.load(run_folder)
    if (state is not None and state.run_id is not None) or not database.parents[1].exists():
        raise PlaceGoneError(
            f"{run_folder}: is tracked in {database}, which is not there (was it moved?): put it back, a link will do"
        )


def last_status(run_folder: Path) -> str | None:
    """How the newest start of the run ended; None when it has not said, "" where that is damaged."""
    status = None
    for line, _ in complete_lines(run_folder / OUTBOX, 0):
        entry = outbox.parse(line)
        if entry is None and not is_torn(line, outbox.LINE_START):
            status = status or ""
        elif entry is not None and entry["kind"] in ("run", "status"):
            status = entry.get("status")
    return status


def _entries(run_folder: Path) -> list[dict]:
    lines = complete_lines(run_folder / OUTBOX, 0)
    return [entry for line, _ in lines if (entry := outbox.parse(line)) is not None]
