"""A latency table is read, whoever wrote it: ours, in JSON, or OFA's, in YAML."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import UsageError
from pipeline.files.whole_file import DamagedError
from pipeline.latency.published import read_published
from pipeline.latency.table import Latencies, latencies_of, read_table
from pipeline.supernet.space import Space


def read_latencies(path: Path) -> tuple[Latencies, Space | None]:
    """The latencies of a file, and the space that it is of; None where it tells none, as OFA's do.

    Raises:
        UsageError: where it cannot be read, or is no table.
    """
    if path.suffix in (".yaml", ".yml"):
        return read_published(path), None
    try:
        found = latencies_of(read_table(path), path)
    except DamagedError as damage:
        raise UsageError(f"{path}: is damaged, or no latency table: {damage}") from None
    return found, found.space
