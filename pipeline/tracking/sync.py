"""`deps sync`: send to MLflow, in the foreground, what it lacks of a run."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import RunFailure, UsageError
from pipeline.tracking.mlflow import sync
from pipeline.tracking.shipment import BusyError, NotTrackedError


def sync_run(folder: Path) -> None:
    """See `mlflow.sync`.

    Raises:
        UsageError: for a run without MLflow, or one still going on. RunFailure: where the server does not take it.
    """
    try:
        sync(folder)
    except (NotTrackedError, BusyError) as error:
        raise UsageError(str(error)) from None
    except Exception as error:  # whatever MLflow or the network raise
        reason = " ".join(str(error).split())[:200]
        raise RunFailure(f"{folder}: MLflow did not take all of it: {reason}; try again later") from None
