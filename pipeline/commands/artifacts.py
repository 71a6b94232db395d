"""Files that are made of a run when it is over, as artifacts of its copy in MLflow."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pipeline.commands.sync import sync_run
from pipeline.errors import RunFailure, UsageError
from pipeline.tracking import outbox
from pipeline.tracking.mlflow_run import PlaceGoneError
from pipeline.tracking.shipment import NotTrackedError, last_start

logger = logging.getLogger(__name__)


def is_tracked(run: Path) -> bool:
    """Whether the run has a copy in MLflow; where that was in a place which is gone, a warning tells."""
    try:
        last_start(run)
    except NotTrackedError:
        return False
    except PlaceGoneError as error:
        logger.warning("%s; MLflow does not get what is made of the run now", error)
        return False
    return True


def attach(run: Path, files: Sequence[Path], folder: str) -> None:
    """Send files of a tracked run into the artifacts' `folder`; where the server does not answer, a warning tells."""
    for file in files:
        outbox.append(run, "artifact", outbox.artifact_entry(run, file, folder))
    try:
        sync_run(run)
    except (RunFailure, UsageError) as error:
        logger.warning("%s; then: deps sync %s", error, run)
