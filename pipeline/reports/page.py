"""A page of headings, text, tables and figures, written as Markdown and as one self-contained HTML file.

All text is literal: whatever a run or an approach is called, on the page it is that, and no markup.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from data_shards.one_line import readable


@dataclass(frozen=True)
class Heading:
    """A section's title."""

    text: str


@dataclass(frozen=True)
class Code:
    """A part of a paragraph that is to be typed."""

    text: str


class Text:
    """A paragraph of its parts; `note` sets it smaller, for what qualifies a table or figure."""

    def __init__(self, *parts: str | Code, note: bool = False) -> None:
        self.parts = parts
        self.note = note


@dataclass(frozen=True)
class Listing:
    """Lines to be typed or kept as they are, in the language that is named (`sh`, `python`, `yaml`)."""

    text: str
    language: str


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


Block = Heading | Text | Listing | Table | Figures


def to_markdown(title: str, blocks: Sequence[Block]) -> str:
    """The page as Markdown, with figures as links to files in the same folder."""
    parts = [f"# {_markdown(title)}"]
    for block in blocks:
        if isinstance(block, Heading):
            parts.append(f"## {_markdown(block.text)}")
        elif isinstance(block, Text):
            parts.append("".join(f"`{p.text}`" if isinstance(p, Code) else _markdown(p) for p in block.parts))
        elif isinstance(block, Listing):
            parts.append(_markdown_listing(block))
        elif isinstance(block, Table):
            parts.append(_markdown_table(block))
        else:
            for figure in block.figures:
                caption = _markdown(figure.caption).strip()  # a space after the asterisk would make it a list
                parts.append(f"![{caption}]({figure.path.name})\n\n*{caption}*")
    return "\n\n".join(parts) + "\n"


# What is markup wherever it stands; underscores are none within a word. Angle brackets and ampersands become entities,
# as not every reader of Markdown takes a backslash before them.
_MARKUP = re.compile(r"[\\`*\[\]|#~$!]|(?<![^\W_])_|_(?![^\W_])")


def _markdown(text: str) -> str:
    """Text as Markdown that reads as that text."""
    return _MARKUP.sub(r"\\\g<0>", escape(readable(text), quote=False))


def _markdown_listing(listing: Listing) -> str:
    """Between fences that are longer than any row of backticks in it."""
    fence = "`" * max([3, *(len(row) + 1 for row in re.findall("`+", listing.text))])
    lines = "\n".join(map(readable, listing.text.rstrip("\n").split("\n")))
    return f"{fence}{listing.language}\n{lines}\n{fence}"


def _html(text: str) -> str:
    """Text as HTML that reads as that text, in an element or an attribute."""
    return escape(readable(text))


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cells) + " |"

    rule = ["---" if column < table.labels else "---:" for column in range(len(table.header))]
    cells = [[_markdown(cell).strip() for cell in row] for row in table.rows]
    rows = [
        [f"**{cell}**" if cell and index in table.strong else cell for cell in row] for index, row in enumerate(cells)
    ]
    return "\n".join([line([_markdown(cell) for cell in table.header]), line(rule), *(line(row) for row in rows)])


def to_html(title: str, blocks: Sequence[Block]) -> str:
    """The page as one HTML file that needs no network and no script."""
    body = "\n".join(_html_block(block) for block in blocks)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_html(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{_html(title)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html_block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h2>{_html(block.text)}</h2>"
    if isinstance(block, Text):
        text = "".join(f"<code>{_html(p.text)}</code>" if isinstance(p, Code) else _html(p) for p in block.parts)
        return f"<p{' class=note' if block.note else ''}>{text}</p>"
    if isinstance(block, Listing):
        lines = "\n".join(map(_html, block.text.rstrip("\n").split("\n")))
        return f"<pre><code>{lines}</code></pre>"
    if isinstance(block, Table):
        return _html_table(block)
    figures = "\n".join(_html_figure(figure) for figure in block.figures)
    return f'<div class="figures">\n{figures}\n</div>'


def _html_table(table: Table) -> str:
    def row(cells: Sequence[str], tag: str, strong: bool = False) -> str:
        classes = ["" if column < table.labels else ' class="number"' for column in range(len(cells))]
        inside = "".join(f"<{tag}{kind}>{_html(cell)}</{tag}>" for cell, kind in zip(cells, classes, strict=True))
        return f"<tr{' class=strong' if strong else ''}>{inside}</tr>"

    rows = "\n".join(row(cells, "td", index in table.strong) for index, cells in enumerate(table.rows))
    table_text = f"<table>\n<thead>{row(table.header, 'th')}</thead>\n<tbody>\n{rows}\n</tbody></table>"
    return f'<div class="table">{table_text}</div>'


def _html_figure(figure: Figure) -> str:
    image = base64.b64encode(figure.path.read_bytes()).decode("ascii")
    caption = _html(figure.caption)
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
