"""What is kept of a benchmark: a CSV and a plot, named by kind, device and date."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.files.whole_file import write_whole

KEPT = Path("kernels/bench/results")


def results_folder(chosen: Path | None, kept: Path = KEPT) -> Path:
    """The folder of `--output`; without it, the project's where it is the current folder, else the current folder.

    Args:
        kept: the project's folder for results of this kind.

    Raises:
        UsageError: where it cannot be written to: better before measuring than after.
    """
    folder = chosen or (kept if kept.parent.is_dir() else Path())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / ".writable", b"")
        (folder / ".writable").unlink()
    except OSError as error:
        raise UsageError(f"--output: {folder}: cannot be written to: {error.strerror}") from None
    return folder


def keep(
    folder: Path, kind: str, place: dict[str, Any], rows: Sequence[dict[str, Any]], draw: Callable[[Path], None]
) -> list[str]:
    """Write KIND_DEVICE_DATE.csv and .svg, and return their paths; see `keep_table`."""
    table = keep_table(folder, kind, place, rows)
    plot = Path(table).with_suffix(".svg")
    draw(plot)
    return [table, str(plot)]


def keep_table(folder: Path, kind: str, place: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """Write KIND_DEVICE_DATE.csv, and return its path; a later run of the same day replaces it.

    Each row carries the machine, the date and the versions.
    """
    around = {name: value for name, value in place.items() if name != "versions"} | place["versions"]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*columns, *around], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, **around} for row in rows)
    path = folder / f"{kind}_{place['device']}_{place['date'][:10]}.csv"
    write_whole(path, text.getvalue().encode())
    return str(path)
