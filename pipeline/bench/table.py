"""Rows whose figures may be missing, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.console.tables import print_table


class _Nothing:
    """Stands for a missing figure, in whatever format."""

    def __format__(self, specification: str) -> str:
        return "–"


def print_figures(title: str, rows: Sequence[Mapping[str, Any]], formats: Mapping[str, tuple[str, str]]) -> None:
    """`print_table` with a dash for each figure that a row lacks, and of a failed check no more than the word."""
    nothing = dict.fromkeys(formats, _Nothing())
    shown = [{**nothing, **row} for row in rows]
    for row in shown:
        row["status"] = str(row.get("status")).split(":")[0]
    print_table(title, shown, formats)
