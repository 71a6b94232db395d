"""`deps report`: write the page, and give each tracked run of it its copy in MLflow."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pipeline.commands.artifacts import attach, is_tracked
from pipeline.console.tables import print_json
from pipeline.errors import UsageError
from pipeline.reports import summary
from pipeline.reports.report import Report, ReportError, write_report
from pipeline.run.layout import EVALUATION, REPORT

logger = logging.getLogger(__name__)


def print_report(runs: Sequence[Path], output: Path | None, as_json: bool) -> None:
    """Write the report and print where it is, or with `as_json` its figures too; see `publish_report`."""
    report = publish_report(runs, output)
    pages = [str(page) for page in report.pages]
    if as_json:
        print_json({"pages": pages, **summary.as_json(report.approaches)})
    else:
        print("\n".join(pages))


def publish_report(runs: Sequence[Path], output: Path | None) -> Report:
    """Write the report of `runs` into `output` (default: `report/` in the only run's folder).

    A report of one run, in its folder, becomes an artifact of it in MLflow, where it was tracked. Where the
    server does not answer, a warning says so, and the report stays.

    Raises:
        UsageError: where a run is missing or malformed, several runs come without `output`, or it cannot be written.
    """
    if output is None and len(runs) > 1:
        raise UsageError("--output: is needed for a report of several runs, for example --output reports/comparison")
    folder = output or runs[0] / REPORT
    try:
        report = write_report(list(runs), folder)
    except ReportError as error:
        raise UsageError(str(error)) from None
    for run in (run for approach in report.approaches for run in approach.runs if run.subnets is None):
        logger.warning("%s: not evaluated yet; deps evaluate %s measures its subnets", run.folder, run.folder)
    if len(runs) == 1:
        _attach(runs[0], report)
    return report


def _attach(run: Path, report: Report) -> None:
    if not is_tracked(run):
        return
    if not all(page.resolve().is_relative_to(run.resolve()) for page in report.pages):
        logger.warning("MLflow gets reports in the run's own folder only: deps report %s", run)
        return
    attach(run, [page for page in (*report.pages, run / EVALUATION) if page.exists()], REPORT)
