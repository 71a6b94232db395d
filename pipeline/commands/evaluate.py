"""`deps evaluate`: held-out accuracy of the Pareto row of a trained supernet's subnets."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.commands.imported_data import AUTO
from pipeline.commands.opening import open_supernet
from pipeline.console.tables import print_json, print_table
from pipeline.errors import UsageError
from pipeline.evaluation.evaluate import Accuracy, Evaluator
from pipeline.evaluation.room import room_for_images
from pipeline.files.json_file import in_json, write_json
from pipeline.methods.phases import ALONE, FULL
from pipeline.processes.group import launched_processes
from pipeline.processes.shared_memory import fit_readers
from pipeline.run.layout import EVALUATION, VALIDATION
from pipeline.supernet.complexity import complexity
from pipeline.supernet.hub import is_on_hub
from pipeline.supernet.space import Space
from pipeline.supernet.store import origin_of
from pipeline.supernet.subnet import Subnet

_COLUMNS = {
    "label": ("subnet", ""),
    "macs": ("MACs", ",d"),
    "params": ("parameters", ",d"),
    "top1": ("top-1 %", ".2f"),
    "top5": ("top-5 %", ".2f"),
    "loss": ("loss", ".4f"),
}


def evaluate_run(
    folder: Path,
    extra: Sequence[str],
    shards: Path | None = None,
    convention: str = AUTO,
    on_validation: bool = False,
) -> list[dict[str, Any]]:
    """Evaluate the Pareto row and the subnets named in `extra`; written to `evaluation.json` and returned.

    Of a run that trains one subnet alone, that one takes the place of the row.

    Args:
        shards: the data set of a supernet that has no recipe, as imported ones.
        convention: by which it is shown; see `imported_data`.
        on_validation: on the run's validation images, with the test split left alone; written to `validation.json`.

    Raises:
        UsageError: where `folder` is no finished run, a subnet is not of its space, or there are no validation images.
    """
    opened = open_supernet(folder, shards, convention)
    recipe, supernet, data, config = opened.recipe, opened.supernet, opened.config, opened.evaluation
    space = supernet.space
    alone = recipe.schedule.alone(space) if recipe else None
    row = [(ALONE, alone)] if alone else [(FULL, space.largest())] if opened.is_static else space.pareto_row()
    known = {subnet for _, subnet in row}
    wanted = dict.fromkeys(subnet for text in extra if (subnet := space.parse(text)) not in known)
    named: list[tuple[str, Subnet]] = [*row, *((str(subnet), subnet) for subnet in wanted)]
    train, validation, test = opened.data
    if on_validation and validation is None:
        raise UsageError(f"--validation: {folder} was trained on all images: data.validation_samples is 0")
    measured = validation if on_validation and validation is not None else test
    bar = Progress(
        TextColumn("evaluating {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    rows: list[dict[str, Any]] = []
    with launched_processes() as processes, bar:
        supernet.to(processes.device)
        batches = [(config.batch_size, max(space.image_sides))]
        data = fit_readers(data, train, batches, processes)
        room = room_for_images(space, config.batch_size, processes)
        evaluator = Evaluator(train, measured, data, config, processes, room)
        task = bar.add_task("subnets", total=len(named))
        subnets = [subnet for _, subnet in named]
        # A static network's statistics are its own, and need no recalibration.
        accuracies = [evaluator.full_model(supernet)] if opened.is_static else evaluator.each(supernet, subnets)
        for (name, subnet), accuracy in zip(named, accuracies, strict=True):
            rows.append(evaluation_row(space, name, subnet, alone is None and subnet in known, accuracy))
            bar.advance(task)
        if processes.is_main and not is_on_hub(folder):  # whose local copy is not ours to write into
            write_evaluation(folder / (VALIDATION if on_validation else EVALUATION), rows)
    if origin := origin_of(folder):
        logging.getLogger(__name__).warning("%s", origin.note(folder))
    return rows


def evaluation_row(space: Space, name: str, subnet: Subnet, pareto: bool, accuracy: Accuracy) -> dict[str, Any]:
    """What `evaluation.json` tells of a subnet.

    Args:
        pareto: whether it is of the Pareto row.
    """
    size = complexity(space, subnet)
    return {
        "name": name,
        "subnet": str(subnet),
        "pareto": pareto,
        "macs": size.macs,
        "params": size.parameters,
        "top1": accuracy.top1,
        "top5": accuracy.top5,
        "loss": accuracy.loss,
    }


def write_evaluation(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows of subnets as reports read them."""
    write_json(path, {"subnets": [{**row, "loss": in_json(row["loss"])} for row in rows]})


def print_evaluation(
    folder: Path,
    extra: Sequence[str],
    as_json: bool,
    shards: Path | None = None,
    convention: str = AUTO,
    on_validation: bool = False,
) -> None:
    """Evaluate and print; see `evaluate_run`."""
    rows = evaluate_run(folder, extra, shards, convention, on_validation)
    if as_json:
        print_json(rows)
    else:
        labelled = [{**row, "label": _label(row["name"], row["subnet"])} for row in rows]
        images = "validation" if on_validation else "held-out"
        print_table(f"{folder}: {images} accuracy, batch norm recalibrated for each subnet", labelled, _COLUMNS)


def _label(name: str, subnet: str) -> str:
    return subnet if name == subnet else f"{subnet} ({name})"
