"""The report of one or several runs: what was reached, what it cost, and how it came about."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pipeline.reports import sections
from pipeline.reports.page import Block, Figures, to_html, to_markdown
from pipeline.reports.plots import Looks
from pipeline.reports.run_record import ReportError, read_run
from pipeline.reports.searched import searched
from pipeline.reports.summary import Approach, group

__all__ = ["Report", "ReportError", "write_report"]


class Report(NamedTuple):
    """A report that was written: its files, and the figures in it."""

    pages: list[Path]
    approaches: list[Approach]


def write_report(run_folders: list[Path], output: Path) -> Report:
    """Write `report.md`, `report.html` and the figures into the folder `output`.

    The Markdown links to the figures beside it; the HTML holds them, and needs no other file and no network.

    Raises:
        ReportError: a run folder lacks a file or has a malformed one, the runs are of different data sets, or
            `output` cannot be written.
    """
    folders = list(dict.fromkeys(folder.resolve() for folder in run_folders))  # twice the same is not two seeds
    if not folders:
        raise ReportError("a report needs at least one run folder")
    runs = [read_run(folder) for folder in folders]
    datasets = dict.fromkeys(run.info.dataset for run in runs)
    if len(datasets) > 1:
        raise ReportError(f"accuracies on different data sets do not compare: {', '.join(datasets)}; one report each")
    approaches = group(runs)
    try:
        return Report(_write(approaches, output), approaches)
    except OSError as error:
        raise ReportError(f"{error.filename or output}: cannot be written ({error.strerror})") from error


def _write(approaches: list[Approach], output: Path) -> list[Path]:
    looks = Looks(approaches)
    output.mkdir(parents=True, exist_ok=True)
    blocks: list[Block] = [
        *sections.key_figures(approaches),
        *sections.accuracy(approaches, looks, output),
        *searched([run for approach in approaches for run in approach.runs], output),
        *sections.cost(approaches, looks, output),
        *sections.shrinking(approaches, looks, output),
        *sections.curves(approaches, looks, output),
        *sections.origin(approaches),
    ]
    title = f"{approaches[0].runs[0].info.dataset}: " + ", ".join(approach.name for approach in approaches)
    page, markdown = output / "report.html", output / "report.md"
    page.write_text(to_html(title, blocks), encoding="utf-8")
    markdown.write_text(to_markdown(title, blocks), encoding="utf-8")
    figures = [figure.path for block in blocks if isinstance(block, Figures) for figure in block.figures]
    return [markdown, page, *figures]
