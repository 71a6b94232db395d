"""The report of one or several runs: what was reached, what it cost, and how it came about."""

from __future__ import annotations

from pathlib import Path

from pipeline.evaluation import sections
from pipeline.evaluation.page import Block, Figures, to_html, to_markdown
from pipeline.evaluation.plots import Looks
from pipeline.evaluation.run_record import ReportError, read_run
from pipeline.evaluation.summary import group

__all__ = ["ReportError", "write_report"]


def write_report(run_folders: list[Path], output: Path) -> list[Path]:
    """Write `report.md`, `report.html` and the figures into the folder `output`; the paths written.

    The Markdown links to the figures beside it; the HTML holds them, and needs no other file and no network.

    Raises:
        ReportError: a run folder lacks a file or has a malformed one, or the runs are of different data sets.
    """
    folders = list(dict.fromkeys(folder.resolve() for folder in run_folders))  # twice the same is not two seeds
    if not folders:
        raise ReportError("a report needs at least one run folder")
    runs = [read_run(folder) for folder in folders]
    datasets = dict.fromkeys(run.info.dataset for run in runs)
    if len(datasets) > 1:
        raise ReportError(f"accuracies on different data sets do not compare: {', '.join(datasets)}; one report each")
    approaches = group(runs)
    looks = Looks(approaches)
    output.mkdir(parents=True, exist_ok=True)
    blocks: list[Block] = [
        *sections.key_figures(approaches),
        *sections.accuracy(approaches, looks, output),
        *sections.cost(approaches, looks, output),
        *sections.shrinking(approaches, looks, output),
        *sections.curves(approaches, looks, output),
        *sections.origin(approaches),
    ]
    title = f"{runs[0].info.dataset}: " + ", ".join(approach.name for approach in approaches)
    page, markdown = output / "report.html", output / "report.md"
    page.write_text(to_html(title, blocks), encoding="utf-8")
    markdown.write_text(to_markdown(title, blocks), encoding="utf-8")
    figures = [figure.path for block in blocks if isinstance(block, Figures) for figure in block.figures]
    return [markdown, page, *figures]
