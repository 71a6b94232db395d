"""The page of a comparison: `compare.html`, `compare.md`, and its figures beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.comparison import sections
from pipeline.comparison.choice import Choice
from pipeline.comparison.folder import MARKDOWN, PAGE
from pipeline.comparison.results import Result
from pipeline.comparison.sweep import Sweep
from pipeline.reports import sections as of_reports
from pipeline.reports.page import Block, Figures, to_html, to_markdown
from pipeline.reports.plots import Looks
from pipeline.reports.run_record import ReportError


def write_page(folder: Path, results: Sequence[Result], choices: Sequence[Choice], choose: Sweep | None) -> list[Path]:
    """Write the page of those entrants that have a run which is done; its files.

    Raises:
        ReportError: no run is done, or a file cannot be written.
    """
    approaches = [each.approach for each in results if each.approach]
    if not approaches:
        raise ReportError(f"{folder}: no run is done, so there is no page")
    looks = Looks(approaches)
    has_first = results[0].approach is not None
    try:
        blocks: list[Block] = [
            *sections.outcome(results, approaches),
            *(sections.against_first(approaches) if has_first else []),
            *sections.cost(results, approaches, looks, folder),
            *of_reports.accuracy(approaches, looks, folder),
            *of_reports.shrinking(approaches, looks, folder),
            *sections.choosing(choices, choose),
            *sections.trained(results, folder),
            *of_reports.origin(approaches),
        ]
        title = f"{approaches[0].runs[0].info.dataset}: {', '.join(approach.name for approach in approaches)}"
        page, markdown = folder / PAGE, folder / MARKDOWN
        page.write_text(to_html(title, blocks), encoding="utf-8")
        markdown.write_text(to_markdown(title, blocks), encoding="utf-8")
    except OSError as error:
        raise ReportError(f"{error.filename or folder}: cannot be written ({error.strerror})") from None
    figures = [figure.path for block in blocks if isinstance(block, Figures) for figure in block.figures]
    return [page, markdown, *figures]
