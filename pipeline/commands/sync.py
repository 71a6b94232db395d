"""`deps sync`: send to MLflow, in the foreground, what it lacks of a run."""

from __future__ import annotations

import shlex
from pathlib import Path

from pydantic import ValidationError

from pipeline.console.tables import print_json
from pipeline.errors import RunFailure, UsageError
from pipeline.tracking.mlflow import TrackingConfig, root_cause, sync
from pipeline.tracking.mlflow_database import UnfitPlaceError
from pipeline.tracking.mlflow_run import DeletedError, PlaceGoneError
from pipeline.tracking.shipment import BusyError, NotTrackedError


def print_sync(folder: Path, experiment: str | None, as_json: bool) -> None:
    """Send, and say that all of it is there; see `sync_run`."""
    sync_run(folder, experiment)
    if as_json:
        print_json({"run": str(folder), "complete": True})
    else:
        print(f"{folder}: MLflow has all of it")


def sync_run(folder: Path, experiment: str | None = None) -> None:
    """See `mlflow.sync`.

    Raises:
        UsageError: for a run without MLflow, one still going on, one whose local database is not there or that was
            deleted in MLflow, and for an experiment of a name that MLflow does not take.
        RunFailure: where the server does not take it.
    """
    if experiment is not None:
        _check_name(experiment)
    try:
        sync(folder, experiment)
    except (NotTrackedError, BusyError, PlaceGoneError, UnfitPlaceError) as error:
        raise UsageError(str(error)) from None
    except DeletedError as error:
        remedy = f"or: deps sync {shlex.quote(str(folder))} --experiment NAME"
        raise UsageError(f"{folder}: {error}; {remedy}") from None
    except Exception as error:  # whatever MLflow or the network raise
        raise RunFailure(
            f"{folder}: MLflow has not got all of it: {root_cause(error)}; "
            "all is kept, and deps sync sends it once that is mended"
        ) from None


def _check_name(experiment: str) -> None:
    try:
        TrackingConfig(experiment=experiment)
    except ValidationError:
        pass
    else:
        if experiment.isprintable():
            return
    raise UsageError("--experiment: an experiment's name has 1 … 500 printable characters")
