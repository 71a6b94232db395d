"""`deps evaluate`: held-out accuracy of the Pareto row of a trained supernet's subnets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_shards.open_data import open_data
from pipeline.console.tables import print_json, print_table
from pipeline.evaluation.evaluate import Evaluator
from pipeline.files.json_file import in_json, write_json
from pipeline.processes.group import launched_processes
from pipeline.processes.shared_memory import fit_readers
from pipeline.run.folder import check_data, read_recipe
from pipeline.run.layout import EVALUATION
from pipeline.supernet.complexity import complexity
from pipeline.supernet.store import load_supernet
from pipeline.supernet.subnet import Subnet

_COLUMNS = {
    "label": ("subnet", ""),
    "macs": ("MACs", ",d"),
    "params": ("parameters", ",d"),
    "top1": ("top-1 %", ".2f"),
    "top5": ("top-5 %", ".2f"),
    "loss": ("loss", ".4f"),
}


def evaluate_run(folder: Path, extra: Sequence[str]) -> list[dict[str, Any]]:
    """Evaluate the Pareto row and the subnets named in `extra`; written to `evaluation.json` and returned.

    Raises:
        UsageError: where `folder` is no finished run, or a subnet is not of its space.
    """
    recipe = read_recipe(folder)
    supernet = load_supernet(folder)
    space = supernet.space
    row = space.pareto_row()
    known = {subnet for _, subnet in row}
    wanted = dict.fromkeys(subnet for text in extra if (subnet := space.parse(text)) not in known)
    named: list[tuple[str, Subnet]] = [*row, *((str(subnet), subnet) for subnet in wanted)]
    train, _, test = open_data(recipe.data)
    check_data(folder, {split.name: split.entry.index_sha256 for split in (train, test)}, recipe.data.shards)
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
        batches = [(recipe.evaluation.batch_size, max(space.image_sides))]
        data = fit_readers(recipe.data, train, batches, processes)
        evaluator = Evaluator(train, test, data, recipe.evaluation, processes)
        task = bar.add_task("", total=len(named))
        for name, subnet in named:
            bar.update(task, description=str(subnet))
            accuracy = evaluator.subnet(supernet, subnet)
            size = complexity(space, subnet)
            rows.append(
                {
                    "name": name,
                    "subnet": str(subnet),
                    "pareto": subnet in known,
                    "macs": size.macs,
                    "params": size.parameters,
                    "top1": accuracy.top1,
                    "top5": accuracy.top5,
                    "loss": accuracy.loss,
                }
            )
            bar.advance(task)
        if processes.is_main:
            write_json(folder / EVALUATION, {"subnets": [{**row, "loss": in_json(row["loss"])} for row in rows]})
    return rows


def print_evaluation(folder: Path, extra: Sequence[str], as_json: bool) -> None:
    """Evaluate and print; see `evaluate_run`."""
    rows = evaluate_run(folder, extra)
    if as_json:
        print_json(rows)
    else:
        labelled = [{**row, "label": _label(row["name"], row["subnet"])} for row in rows]
        print_table(f"{folder}: held-out accuracy, batch norm recalibrated for each subnet", labelled, _COLUMNS)


def _label(name: str, subnet: str) -> str:
    return subnet if name == subnet else f"{subnet} ({name})"
