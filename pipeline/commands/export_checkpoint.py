"""`deps export-checkpoint`: a supernet of ours in the layout that other programs read."""

from __future__ import annotations

from pathlib import Path

from data_shards.one_line import readable
from pipeline.published.exporting import export_checkpoint
from pipeline.supernet.store import origin_of


def print_export(folder: Path, output: Path) -> None:
    """Export, and tell what was written, and the licence where there is one."""
    keys = export_checkpoint(folder, output)
    origin = origin_of(folder)
    print(readable(f"{output}: {keys} keys{f'; {origin.licence}' if origin else ''}"))
