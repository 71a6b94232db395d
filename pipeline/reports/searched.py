"""The section of a report on what `deps search` has found in its runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, Field, TypeAdapter

from pipeline.files.json_file import checked, read_json
from pipeline.files.whole_file import DamagedError
from pipeline.reports.front_plot import front_plot
from pipeline.reports.page import Block, Figure, Figures, Heading, Table, Text
from pipeline.reports.run_record import ReportError, RunRecord
from pipeline.reports.sections import millions
from pipeline.run.layout import FRONT, SEARCH


class FoundSubnet(BaseModel):
    """A subnet of it; accuracies in per cent."""

    subnet: str
    macs: int = Field(gt=0)
    params: int = Field(gt=0)
    latency_ms: float | None = Field(default=None, gt=0)
    validation_top1: float = Field(ge=0, le=100)
    test_top1: float = Field(ge=0, le=100)


class Front(BaseModel):
    """`front.json`, as far as pages tell of it."""

    measured: int
    validation_images: int
    front: tuple[FoundSubnet, ...]
    uniform: tuple[FoundSubnet, ...]


def searched(runs: Sequence[RunRecord], output: Path) -> list[Block]:
    """A table for each run that was searched; nothing where none was.

    Raises:
        ReportError: where a front is damaged.
    """
    blocks: list[Block] = []
    for number, run in enumerate(runs):
        found = read_front(run.folder)
        if found is not None:
            blocks += [Heading("Searched subnets")] if not blocks else []
            blocks += _of_run(run, found, output / f"searched_{number}.svg")
    return blocks


def _of_run(run: RunRecord, found: Front, path: Path) -> list[Block]:
    lines = {
        name: [{**each.model_dump(), "cost": each.macs} for each in subnets]
        for name, subnets in (("searched", found.front), ("uniform", found.uniform))
    }
    front_plot(path, run.info.name, "MACs", ((), ()), lines)
    caption = f"{run.info.name}: the front among {found.measured} measured subnets, and subnets alike in all stages."
    rows = []
    for each in found.front:
        latency = [] if each.latency_ms is None else [f"{each.latency_ms:.3f}"]
        accuracies = (f"{each.validation_top1:.2f}", f"{each.test_top1:.2f}")
        rows.append([each.subnet, millions(each.macs), millions(each.params), *latency, *accuracies])
    header = ["subnet", "MACs", "parameters", "validation, %", "test, %"]
    if any(each.latency_ms is not None for each in found.front):
        header.insert(3, "latency, ms")
    note = f"They were chosen on {found.validation_images} validation images, which flatters their accuracies there."
    return [Figures([Figure(path, caption)]), Table(header, rows), Text(note, note=True)]


def read_front(run_folder: Path) -> Front | None:
    """What the last search of a run has found; None where none was.

    Raises:
        ReportError: it is damaged.
    """
    path = run_folder / SEARCH / FRONT
    if not path.exists():
        return None
    try:
        return checked(read_json(path), TypeAdapter(Front))
    except OSError as error:
        raise ReportError(f"{path}: cannot be read ({error.strerror})") from None
    except DamagedError as damage:
        raise ReportError(f"{path}: {damage}; deps search RUN writes it anew") from None
