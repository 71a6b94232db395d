"""Tables on a terminal, or the same content as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


def print_table(title: str, rows: Sequence[Mapping[str, Any]], formats: Mapping[str, tuple[str, str]]) -> None:
    """Print `rows` as a table.

    Args:
        formats: heading and format specification of each column, by the rows' key.
    """
    table = Table(title=title, title_justify="left")
    for heading, specification in formats.values():
        table.add_column(heading, justify="right" if specification else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(format(row[key], specification) for key, (_, specification) in formats.items()))
    # Into a file or pipe nothing is cut off; a terminal has its own width.
    Console(highlight=False, width=None if sys.stdout.isatty() else 200).print(table)


def print_json(content: Any) -> None:
    print(json.dumps(content, indent=1, ensure_ascii=False))
