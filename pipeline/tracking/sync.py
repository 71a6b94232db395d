"""`deps sync`: send to MLflow, in the foreground, what it lacks of a run."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import RunFailure, UsageError
from pipeline.tables import print_json
from pipeline.tracking.mlflow import sync
from pipeline.tracking.mlflow_run import PlaceGoneError
from pipeline.tracking.shipment import BusyError, NotTrackedError


def print_sync(folder: Path, as_json: bool) -> None:
    """Send, and say that all of it is there; see `sync_run`."""
    sync_run(folder)
    if as_json:
        print_json({"run": str(folder), "complete": True})
    else:
        print(f"{folder}: MLflow has all of it")


def sync_run(folder: Path) -> None:
    """See `mlflow.sync`.

    Raises:
        UsageError: for a run without MLflow, one still going on, or one whose local database is not there.
        RunFailure: where the server does not take it.
    """
    try:
        sync(folder)
    except (NotTrackedError, BusyError, PlaceGoneError) as error:
        raise UsageError(str(error)) from None
    except Exception as error:  # whatever MLflow or the network raise
        reason = " ".join(str(error).split())[:200]
        raise RunFailure(f"{folder}: MLflow did not take all of it: {reason}; try again later") from None
