"""Tables on a terminal, or the same content as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_shards.one_line import readable
from pipeline.console.terminal import takes_unicode


def print_table(title: str, rows: Sequence[Mapping[str, Any]], formats: Mapping[str, tuple[str, str]]) -> None:
    """Print `rows` as a table.

    Args:
        formats: heading and format specification of each column, by the rows' key.
    """
    table = Table(title=Text(readable(title)), title_justify="left")
    for heading, specification in formats.values():
        table.add_column(heading, justify="right" if specification else "left", no_wrap=True)
    for row in rows:
        # As text, for brackets in names are no markup.
        table.add_row(*(Text(readable(format(row[key], specification))) for key, (_, specification) in formats.items()))
    # Into a file or pipe nothing is cut off; a terminal has its own width.
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def print_json(content: Any) -> None:
    """Print `content` as JSON, with escapes for what is not to be seen or the output cannot write."""
    text = json.dumps(content, indent=1, ensure_ascii=not takes_unicode())
    print("\n".join(_readable_json(line) for line in text.split("\n")))


def _readable_json(line: str) -> str:
    return line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)
