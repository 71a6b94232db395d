"""The note that a run leaves which ended at a loss that is not finite: from there it would come to the same end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pipeline.files.json_file import write_json
from pipeline.run.layout import DIVERGED


def note_divergence(folder: Path, why: str) -> None:
    """Have it known that the last start of the run in `folder` ended so; as far as the folder can be written."""
    with suppress(OSError):  # a full disk, say; why the run has ended is told anyway
        write_json(folder / DIVERGED, {"told": why})


def has_diverged(folder: Path) -> bool:
    """Whether the last start of the run in `folder` ended so."""
    return (folder / DIVERGED).exists()


def forget_divergence(folder: Path) -> None:
    """The run starts again.

    Raises:
        OSError: where the note cannot be removed.
    """
    (folder / DIVERGED).unlink(missing_ok=True)
