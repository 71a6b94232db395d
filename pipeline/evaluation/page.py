"""A page of headings, text, tables and figures, written as Markdown and as one self-contained HTML file."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path


@dataclass(frozen=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True)
class Text:
    """A paragraph; `note` sets it smaller, for what qualifies a table or figure."""

    text: str
    note: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of text under a header. The first `labels` columns are text, the others numbers, set to the right.

    Rows whose index is in `strong` are set bold.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    labels: int = 1
    strong: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Figure:
    """An SVG file, with what it shows in a sentence."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Figures:
    """Figures that belong together: beside each other where there is room."""

    figures: Sequence[Figure]


Block = Heading | Text | Table | Figures


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The page as Markdown, with figures as links to files in the same folder."""
    parts = [f"# {title}"]
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"## {block.text}")
        elif isinstance(block, Text):
            parts.append(block.text)
        elif isinstance(block, Table):
            parts.append(_markdown_table(block))
        else:
            for figure in block.figures:
                parts.append(f"![{figure.caption}]({figure.path.name})\n\n*{figure.caption}*")
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = ["---" if column < table.labels else "---:" for column in range(len(table.header))]
    rows = [
        [f"**{cell}**" if cell and index in table.strong else cell for cell in row]
        for index, row in enumerate(table.rows)
    ]
    return "\n".join([line(table.header), line(rule), *(line(row) for row in rows)])


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The page as one HTML file that needs no network and no script."""
    body = "\n".join(_html_block(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html_block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h2>{escape(block.text)}</h2>"
    if isinstance(block, Text):
        return f"<p{' class=note' if block.note else ''}>{_html_text(block.text)}</p>"
    if isinstance(block, Table):
        return _html_table(block)
    figures = "\n".join(_html_figure(figure) for figure in block.figures)
    return f'<div class="figures">\n{figures}\n</div>'


def _html_text(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))


def _html_table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str, strong: bool = False) -> str:
        classes = ["" if column < table.labels else ' class="number"' for column in range(len(cells))]
        inside = "".join(f"<{tag}{kind}>{escape(cell)}</{tag}>" for cell, kind in zip(cells, classes, strict=True))
        return f"<tr{' class=strong' if strong else ''}>{inside}</tr>"

    rows = "\n".join(row(cells, "td", index in table.strong) for index, cells in enumerate(table.rows))
    table_text = f"<table>\n<thead>{row(table.header, 'th')}</thead>\n<tbody>\n{rows}\n</tbody></table>"
    return f'<div class="table">{table_text}</div>'


def _html_figure(figure: Figure) -> str:
    image = base64.b64encode(figure.path.read_bytes()).decode("ascii")
    caption = escape(figure.caption)
    picture = f'<img alt="{caption}" src="data:image/svg+xml;base64,{image}">'
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


_STYLE = """
:root { color-scheme: light; --ink: #1c2430; --soft: #5b6675; --line: #dde2e8; --fill: #f6f8fa; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-top: 1.25rem; border-top: 1px solid var(--line); }
p { margin: .6rem 0; max-width: 46rem; }
p.note, figcaption { color: var(--soft); font-size: .875rem; }
.table { overflow-x: auto; margin: 1rem 0; border: 1px solid var(--line); border-radius: 6px; width: fit-content;
  max-width: 100%; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .8rem; text-align: left; vertical-align: top; white-space: nowrap; }
th { background: var(--fill); font-weight: 600; vertical-align: bottom;
  white-space: normal; text-wrap: balance; min-width: 5.5rem; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; }
th:first-child, tr.strong td:first-child { background: var(--fill); }
tbody tr { border-top: 1px solid var(--line); }
.number { text-align: right; }
td:last-child:not(.number) { white-space: normal; min-width: 12rem; }
tr.strong td { font-weight: 600; background: var(--fill); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.25rem; }
figure { margin: .5rem 0; max-width: 44rem; }
figure img { width: 100%; height: auto; display: block; }
figcaption { margin-top: .3rem; }
@media (max-width: 40rem) { main { padding: 1.5rem .9rem 3rem; } h1 { font-size: 1.4rem; } body { font-size: 15px; } }
@media print { h2, figure, .table { break-inside: avoid; } }
"""
