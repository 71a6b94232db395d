"""A run's copy in MLflow, made in the background: a server that is slow or dead never touches training.

Training writes files (`metrics.jsonl`, `outbox.jsonl`); a thread sends what is new in them, tries again as long as it
has to, and whatever is left at the end is sent by `sync` later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.tracking import outbox
from pipeline.tracking.mlflow_run import PARENT_TAG, DeletedError, PlaceGoneError, place_of
from pipeline.tracking.shipment import Shipment, State, check_place, last_status

logger = logging.getLogger(__name__)

Status = Literal["FINISHED", "KILLED", "FAILED"]

SECONDS_BETWEEN_LOOKS = 2.0
LONGEST_PAUSE = 60.0  # seconds between two tries while the server fails
TRIES_AT_CLOSE = 3  # failures in a row after which closing leaves the rest to `sync`


class TrackingConfig(BaseModel):
    """Where a run is tracked besides its own folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mlflow: bool = True
    uri: str | None = None  # None: sqlite:///mlruns/mlflow.db under the folder of the start, artifacts beside it
    experiment: str = Field(default="once-for-all", min_length=1, max_length=500)  # as MLflow wants it


class MlflowShipper:
    """Sends a run folder to MLflow from a daemon thread, which also imports MLflow (seconds).

    Args:
        run_folder: holds `metrics.jsonl`; the shipper adds `outbox.jsonl` and `mlflow.json`.
        config: server and experiment.
        run_name: what MLflow calls the run.
        params: the recipe, nested or flat.
        tags: text by name.
    """

    def __init__(
        self,
        run_folder: Path,
        config: TrackingConfig,
        run_name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> None:
        self._folder = run_folder
        run_folder.mkdir(parents=True, exist_ok=True)
        place = place_of(config.uri)
        where = {**place._asdict(), "experiment": config.experiment, "name": run_name}
        outbox.append(run_folder, "run", {**where, "params": outbox.flatten(params), "tags": dict(tags)})
        self._where = place.uri
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._failures = 0  # in a row
        self._reason = ""  # of the last one
        self._all_sent = False
        self._shipment = Shipment(run_folder, stop=lambda: time.monotonic() > self._deadline)
        self._thread = threading.Thread(target=self._work, name="mlflow-shipper", daemon=True)
        self._thread.start()

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Have a file (or a folder) sent into the artifacts' `folder`; it is read when its turn comes."""
        outbox.append(self._folder, "artifact", outbox.artifact_entry(self._folder, path, folder))

    def close(self, status: Status, timeout: float) -> bool:
        """Send what is left, end the run with `status`, and stop. Whether all of it was sent, within `timeout` seconds.

        What is not sent is kept for `sync`, the status included.
        """
        outbox.append(self._folder, "status", {"status": status})
        self._deadline = time.monotonic() + timeout
        self._closing.set()
        self._thread.join(timeout)
        if not self._all_sent:
            reason = self._reason or f"not done within {timeout:g} s"
            logger.warning("MLflow lacks a part of this run (%s); `deps sync %s` sends it", reason, self._folder)
        return self._all_sent

    def _work(self) -> None:
        tries_left = TRIES_AT_CLOSE
        while tries_left > 0 and time.monotonic() < self._deadline:
            closing = self._closing.is_set()  # asked before sending: only then has everything been seen
            pause = SECONDS_BETWEEN_LOOKS
            try:
                if self._shipment.has_more():
                    self._all_sent = self._shipment.send() and closing
                elif closing:
                    self._all_sent = True
                self._succeeded()
                if self._all_sent:
                    break
            except Exception as error:  # whatever it is, it must not reach training
                self._failed(error)
                pause = min(LONGEST_PAUSE, 2.0**self._failures)
                tries_left -= closing
            if closing:
                time.sleep(min(1.0, max(0.0, self._deadline - time.monotonic())))
            else:
                self._closing.wait(pause)
        self._shipment.release()

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._reason = root_cause(error)
        if self._failures == 1 and not self._closing.is_set():  # from there on it is `close` that tells
            logger.warning(
                "MLflow (%s) takes nothing: %s. Training goes on; all is kept in %s and sent when it is back",
                self._where,
                self._reason,
                self._folder,
            )

    def _succeeded(self) -> None:
        if self._failures:
            logger.warning("MLflow (%s) is back after %d failed tries", self._where, self._failures)
        self._failures = 0
        self._reason = ""


def child_of(earlier: Path, config: TrackingConfig) -> dict[str, str]:
    """The tag by which MLflow shows a run under an earlier one; none where that one is not tracked in the same place.

    Args:
        earlier: its folder; of what is no run, nothing is known either.
        config: the later run's.
    """
    state = State.load(earlier)
    if not config.mlflow or state is None or state.run_id is None or state.uri != place_of(config.uri).uri:
        return {}
    return {PARENT_TAG: state.run_id}


def root_cause(error: BaseException) -> str:
    """One line on what lies beneath the layers of HTTP and MLflow errors, such as a refused connection."""
    if isinstance(error, DeletedError | PlaceGoneError):
        return str(error)
    while (beneath := error.__cause__ or error.__context__) is not None:
        error = beneath
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= 200 else text[:200] + " …"


def sync(run_folder: Path, experiment: str | None = None) -> None:
    """Send what MLflow lacks of a run that is over. A run that was killed without a word ends as "KILLED".

    Args:
        experiment: see `Shipment`.

    Raises:
        BusyError: the run is still going on, or being sent by another process.
        NotTrackedError: the run was trained without MLflow.
        PlaceGoneError: the local database that the run was tracked in is not there any more.
        DeletedError: the run or its experiment was deleted in MLflow.
        Exception: what MLflow or the network raise; what was sent by then stays so, and the rest can be tried again.
    """
    check_place(run_folder)
    shipment = Shipment(run_folder, experiment=experiment)
    try:
        shipment.send()
        if last_status(run_folder) is None:
            outbox.append(run_folder, "status", {"status": "KILLED"})
            shipment.send()
    finally:
        shipment.release()
