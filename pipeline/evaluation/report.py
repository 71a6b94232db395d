"""The report of one or several runs: what was reached, what it cost, and how it came about."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.evaluation import plots, summary
from pipeline.evaluation.page import Block, Figure, Figures, Heading, Table, Text, to_html, to_markdown
from pipeline.evaluation.run_record import ReportError, RunRecord, read_run
from pipeline.evaluation.summary import Approach, spread, spread_text

__all__ = ["ReportError", "write_report"]


def write_report(run_folders: list[Path], output: Path) -> list[Path]:
    """Write `report.md`, `report.html` and the figures into the folder `output`; the paths written.

    The Markdown links to the figures beside it, the HTML holds them and needs no other file.

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
    output.mkdir(parents=True, exist_ok=True)
    return _Report(runs, output).write()


class _Report:
    def __init__(self, runs: Sequence[RunRecord], output: Path) -> None:
        self.runs = runs
        self.output = output
        self.approaches = summary.group(runs)
        self.looks = plots.Looks(self.approaches)
        self.units = list(dict.fromkeys(run.ledger.unit for run in runs))

    def write(self) -> list[Path]:
        info = self.runs[0].info
        title = f"{info.dataset}: " + ", ".join(approach.name for approach in self.approaches)
        blocks: list[Block] = [
            Text(self._lead()),
            *self._key_figures(),
            *self._accuracy(),
            *self._cost(),
            *self._shrinking(),
            *self._curves(),
            *self._origin(),
        ]
        markdown, page = self.output / "report.md", self.output / "report.html"
        markdown.write_text(to_markdown(title, blocks), encoding="utf-8")
        page.write_text(to_html(title, blocks), encoding="utf-8")
        figures = [figure.path for block in blocks if isinstance(block, Figures) for figure in block.figures]
        return [markdown, page, *figures]

    def _lead(self) -> str:
        info, runs, approaches = self.runs[0].info, len(self.runs), len(self.approaches)
        counted = f"{runs} run{'s' * (runs > 1)} of {approaches} approach{'es' * (approaches > 1)}"
        return (
            f"{counted} on {info.dataset} ({info.classes} classes). Accuracies are top-1 on held-out images, in per cent; "
            "± is the standard deviation over seeds."
        )

    def _hours(self, run: RunRecord, digits: int = 3) -> str:
        """A run's hours; their unit is said with each where the runs do not share it."""
        text = _significant(run.ledger.hours, digits)
        return text if len(self.units) == 1 else f"{text} {run.ledger.unit}"
