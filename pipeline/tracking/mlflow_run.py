"""One run on an MLflow server or in its database. The only place that imports MLflow, when first used."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlparse

from pipeline.tracking.mlflow_database import prepare_database

if TYPE_CHECKING:
    from mlflow.entities import Experiment

DEFAULT_URI = "sqlite:///mlruns/mlflow.db"
_SQLITE = "sqlite:///"
KEY_TAG = "deps.run_key"
PARENT_TAG = "mlflow.parentRunId"  # MLflow's own
# What one call may carry, and how long a value may be, in MLflow's own validation.
METRICS_PER_CALL = 1000
ENTRIES_PER_CALL = 100
PARAM_LENGTH = 6000
TAG_LENGTH = 8000

# Read by MLflow at each request. A call is tried once and briefly: repeating it is the shipper's work, which can wait.
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "60",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # a training job reports to nobody but its own server
}


class Point(NamedTuple):
    """One value of one metric."""

    name: str
    value: float
    milliseconds: int  # Unix time
    step: int


class Place(NamedTuple):
    """Where runs are tracked: the same place from whatever folder a command is given."""

    uri: str
    artifacts: str | None  # a folder; None where the server knows one


class PlaceGoneError(RuntimeError):
    """The files that a run is tracked in are not where they were; the message is one line that names the place."""


class DeletedError(RuntimeError):
    """The run, or its experiment, was deleted in MLflow; the message is one line that says how to restore it."""


def local_database(uri: str) -> Path | None:
    """The file behind an SQLite address (relative to the current folder, as MLflow reads it); None for others."""
    return Path(uri[len(_SQLITE) :]).resolve() if uri.startswith(_SQLITE) else None


def place_of(uri: str | None) -> Place:
    """The place that an address means in the current folder; None is the local database.

    A database knows no place for artifacts: they go beside it.
    """
    database = local_database(uri or DEFAULT_URI)
    if database is None:
        return Place(str(uri), None)
    return Place(f"{_SQLITE}{database}", str(database.parent / "artifacts"))


class MlflowRun:
    """Finds or creates a run, and sends to it. Every method may raise whatever MLflow and the network raise."""

    def __init__(self, place: Place, experiment: str, name: str, key: str, run_id: str | None) -> None:
        """Open the run `run_id`; where it is None or unknown to the server, the one with `key`; else a new one.

        The key makes creating repeatable: a server that created the run, but whose answer got lost, is not asked to
        create a second one. Raises DeletedError where it would have to be restored first.
        """
        for variable, value in _ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient

        database = local_database(place.uri)
        if database is not None:
            prepare_database(database, lambda path: MlflowClient(tracking_uri=f"{_SQLITE}{path}"))
        self._client = MlflowClient(tracking_uri=place.uri)
        self._uri = place.uri
        self._keeps_artifacts_itself = place.artifacts is None
        if run_id is None or not self._exists(run_id):
            run_id = self._find_or_create(experiment, name, key, place.artifacts)
        self.run_id = run_id

    def _exists(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            info = self._client.get_run(run_id).info
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        if info.lifecycle_stage != "active":
            self._check_experiment(self._client.get_experiment(info.experiment_id))
            raise self._deleted("the run", f"mlflow runs restore --run-id {run_id}")
        return True

    def _check_experiment(self, experiment: Experiment) -> None:
        if experiment.lifecycle_stage != "active":
            command = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
            name = experiment.name if len(experiment.name) <= 60 else f"{experiment.name[:60]}…"
            raise self._deleted(f"the experiment '{name}'", command)

    def _deleted(self, what: str, command: str) -> DeletedError:
        where = f"MLFLOW_TRACKING_URI={shlex.quote(self._uri)}"
        return DeletedError(f"{what} was deleted in MLflow; to restore it: {where} {command}")

    def check_not_deleted(self, error: Exception) -> None:
        """Raises DeletedError where that is why a call failed with `error`."""
        if getattr(error, "error_code", None) == "INVALID_PARAMETER_VALUE":  # of what is deleted, too
            self._exists(self.run_id)

    def _find_or_create(self, experiment: str, name: str, key: str, artifacts: str | None) -> str:
        found = self._client.get_experiment_by_name(experiment)
        if found is None:
            location = None if artifacts is None else Path(artifacts).as_uri()
            experiment_id = self._client.create_experiment(experiment, artifact_location=location)
        else:
            self._check_experiment(found)
            experiment_id = found.experiment_id
        runs = self._client.search_runs([experiment_id], filter_string=f"tags.`{KEY_TAG}` = '{key}'", max_results=1)
        if runs:
            return runs[0].info.run_id
        return self._client.create_run(experiment_id, tags={KEY_TAG: key}, run_name=name).info.run_id

    def send_metrics(self, points: Sequence[Point]) -> None:
        """Send points. Sending one again is harmless: MLflow's stores keep one of equal name, step, time and value."""
        from mlflow.entities import Metric

        for start in range(0, len(points), METRICS_PER_CALL):
            chunk = points[start : start + METRICS_PER_CALL]
            metrics = [Metric(point.name, point.value, point.milliseconds, point.step) for point in chunk]
            self._client.log_batch(self.run_id, metrics=metrics)

    def start(self, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Mark the run as running, and send params and tags.

        MLflow's params cannot change. One that did (a run resumed with another recipe) keeps its first value there, and
        the new value becomes the tag `changed/<param>`.
        """
        from mlflow.entities import Param, RunTag

        self._client.update_run(self.run_id, status="RUNNING")
        known = self._client.get_run(self.run_id).data.params
        cut = {name: str(value)[:PARAM_LENGTH] for name, value in params.items()}
        new = [Param(name, value) for name, value in cut.items() if name not in known]
        changed = {f"changed/{name}": value for name, value in cut.items() if known.get(name, value) != value}
        all_tags = [RunTag(name, str(value)[:TAG_LENGTH]) for name, value in {**tags, **changed}.items()]
        for start in range(0, len(new), ENTRIES_PER_CALL):
            self._client.log_batch(self.run_id, params=new[start : start + ENTRIES_PER_CALL])
        for start in range(0, len(all_tags), ENTRIES_PER_CALL):
            self._client.log_batch(self.run_id, tags=all_tags[start : start + ENTRIES_PER_CALL])

    def send_artifact(self, path: Path, folder: str | None) -> None:
        """Send a file, or a folder with all that is in it, into the artifacts' `folder` (None: their top).

        Raises:
            PlaceGoneError: a database that was moved still names the old place, which MLflow would make anew.
        """
        if not self._keeps_artifacts_itself:
            self._check_artifacts_folder()
        if path.is_dir():
            self._client.log_artifacts(self.run_id, str(path), artifact_path=folder)
        else:
            self._client.log_artifact(self.run_id, str(path), artifact_path=folder)

    def _check_artifacts_folder(self) -> None:
        address = urlparse(self._client.get_run(self.run_id).info.artifact_uri or "")
        if address.scheme != "file":
            return
        root = Path(unquote(address.path)).parents[1]  # of <root>/<run>/artifacts; made with the first artifact
        if not root.parent.exists():
            raise PlaceGoneError(
                f"the run's artifacts go to {root}, which is not there (was it moved?): put it back, a link will do"
            )

    def finish(self, status: str) -> None:
        """End the run as "FINISHED", "KILLED" or "FAILED"."""
        self._client.set_terminated(self.run_id, status=status)
