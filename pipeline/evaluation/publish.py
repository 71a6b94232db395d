"""`deps report`: write the page, and give each tracked run of it its copy in MLflow."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import RunFailure, UsageError
from pipeline.evaluation.report import ReportError, write_report
from pipeline.tracking import outbox
from pipeline.tracking.shipment import NotTrackedError, last_start
from pipeline.tracking.sync import sync_run

logger = logging.getLogger(__name__)


def publish_report(runs: Sequence[Path], output: Path | None) -> list[Path]:
    """Write the report of `runs` into `output` (default: `report/` in the only run's folder).

    A report of one run becomes an artifact of it in MLflow, where it was tracked; a server that does not answer is
    said so, and the report stays.

    Raises:
        UsageError: where a run is missing or malformed, or several runs come without `output`.
    """
    if output is None and len(runs) > 1:
        raise UsageError("--output: is needed for a report of several runs, for example --output reports/comparison")
    folder = output or runs[0] / "report"
    try:
        pages = write_report(list(runs), folder)
    except ReportError as error:
        raise UsageError(str(error)) from None
    if len(runs) == 1:
        _attach(runs[0], folder)
    return pages


def _attach(run: Path, report: Path) -> None:
    try:
        last_start(run)
    except NotTrackedError:
        return
    for page in (*sorted(report.iterdir()), run / "evaluation.json"):
        if page.exists():
            outbox.append(run, "artifact", outbox.artifact_entry(run, page, "report"))
    try:
        sync_run(run)
    except (RunFailure, UsageError) as error:
        logger.warning("%s; then: deps sync %s", error, run)
