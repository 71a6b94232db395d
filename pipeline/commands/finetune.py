"""`deps finetune`: one subnet of a trained supernet, trained further; what it gained by that."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.progress import track

from data_shards.open_data import Data, open_data
from pipeline.commands.artifacts import attach, is_tracked
from pipeline.commands.evaluate import evaluation_row, write_evaluation
from pipeline.console.tables import print_json, print_table
from pipeline.errors import UsageError
from pipeline.evaluation.evaluate import Accuracy, Evaluator
from pipeline.experiment import train_on
from pipeline.files.json_file import read_json, write_json
from pipeline.files.whole_file import DamagedError
from pipeline.methods.phases import ALONE
from pipeline.processes.group import Processes, launched_processes
from pipeline.processes.shared_memory import fit_readers
from pipeline.recipe.finetuned import finetuned
from pipeline.recipe.recipe import Recipe
from pipeline.run.folder import check_data, read_recipe
from pipeline.run.layout import EVALUATION, FINETUNING
from pipeline.supernet.store import digest_of, load_supernet, load_weights
from pipeline.supernet.subnet import Subnet, SubnetError

_COLUMNS = {
    "label": ("", ""),
    "validation_top1": ("validation top-1 %", ">"),
    "test_top1": ("test top-1 %", ">"),
    "test_top5": ("test top-5 %", ">"),
}


class _Opened(NamedTuple):
    """What is to be fine-tuned: the subnet of the supernet in `folder`, by `recipe`."""

    folder: Path
    subnet: Subnet
    recipe: Recipe
    data: Data


Accuracies = dict[str, Accuracy]  # of one network, by images


def finetune_run(
    folder: Path, subnet: str, teacher: bool, overrides: Sequence[str], resume: bool
) -> dict[str, Any] | signal.Signals | None:
    """Fine-tune `subnet` of the run in `folder`, as a run of its own; what `finetuning.json` of that one holds.

    All processes of a launcher call it together. The weights that it leaves are the best on validation images, where
    the run has some. The test split is read once they are there, before and after in one go.

    Args:
        teacher: have it learn from the full model of the run, too, frozen.
        overrides: of the recipe, see `pipeline.recipe.finetuned`.
        resume: go on where an earlier start has ended.

    Returns:
        The signal that stopped it before its end, if any; None on other processes than the main one.

    Raises:
        UsageError: where `folder` is no finished run, the subnet is none of its space, or the recipe makes no sense.
    """
    opened = _open(folder, subnet, teacher, overrides)
    recipe = opened.recipe
    with launched_processes(recipe.engine.lost_after) as processes:
        if stopped := train_on(processes, recipe, resume):
            return stopped
        [content] = processes.gathered([_known(opened)] if processes.is_main else [])
        if content is None:
            content = _measured(opened, processes)
    if not processes.is_main:
        return None
    if is_tracked(recipe.folder):
        attach(recipe.folder, [recipe.folder / FINETUNING, recipe.folder / EVALUATION], "finetuning")
    return content


def print_finetuning(
    folder: Path, subnet: str, teacher: bool, overrides: Sequence[str], resume: bool, as_json: bool
) -> signal.Signals | None:
    """Fine-tune and print what was gained; see `finetune_run`."""
    content = finetune_run(folder, subnet, teacher, overrides, resume)
    if content is None or isinstance(content, signal.Signals):
        return content
    if as_json:
        print_json(content)
        return None
    rows = [_texts(name, content[name], "") for name in ("before", "after")]
    columns = {key: each for key, each in _COLUMNS.items() if key == "label" or key in content["gain"]}
    learned = "labels and the full model" if content["kd_ratio"] else "labels"
    title = f"{content['subnet']} of {folder}, {content['duration']} from {learned}; batch norm recalibrated"
    print_table(title, [*rows, _texts("gain", content["gain"], "+")], columns)
    if content["gain"].get("validation_top1", 0) < 0:
        print(f"On validation images it was better before: take its weights from {folder}")
    print(f"Kept: {content['folder']}")
    return None


def _open(folder: Path, text: str, teacher: bool, overrides: Sequence[str]) -> _Opened:
    """Every refusal that needs no processes."""
    of_supernet = read_recipe(folder)
    space, _ = load_weights(folder)
    try:
        subnet = space.parse(text)
    except SubnetError as error:
        raise UsageError(f"--subnet: {error}") from None
    recipe = finetuned(of_supernet, folder, space, subnet, teacher, overrides)
    data = open_data(recipe.data)
    check_data(folder, {split.name: split.entry.index_sha256 for split in (data.train, data.test)}, recipe.data.shards)
    return _Opened(folder, subnet, recipe, data)


def _known(opened: _Opened) -> dict[str, Any] | None:
    """What was measured of these very weights."""
    try:
        content = read_json(opened.recipe.folder / FINETUNING)
    except (OSError, DamagedError):
        return None
    return content if isinstance(content, dict) and content.get("sha256") == _digests(opened) else None


def _digests(opened: _Opened) -> dict[str, str]:
    """SHA-256 of the weights."""
    return {"before": digest_of(opened.folder), "after": digest_of(opened.recipe.folder)}


def _measured(opened: _Opened, processes: Processes) -> dict[str, Any]:
    """Measure the subnet before and after, and keep what came out of it. All processes must call it together."""
    recipe, data, subnet = opened.recipe, opened.data, opened.subnet
    supernets = {"before": load_supernet(opened.folder), "after": load_supernet(recipe.folder)}
    space = supernets["after"].space
    readers = fit_readers(
        recipe.data, data.train, [(recipe.evaluation.batch_size, space.image_side(subnet))], processes
    )
    splits = {"validation": data.validation, "test": data.test}
    evaluators = {
        images: Evaluator(data.train, split, readers, recipe.evaluation, processes)
        for images, split in splits.items()
        if split is not None
    }
    found: dict[str, Accuracies] = {when: {} for when in supernets}
    work = [(images, when) for images in evaluators for when in supernets]
    console = Console(stderr=True)
    for images, when in track(work, "measuring", console=console, transient=True, disable=not processes.is_main):
        found[when][images] = evaluators[images].subnet(supernets[when].to(processes.device), subnet)
    figures = {when: _figures(accuracies) for when, accuracies in found.items()}
    row = evaluation_row(space, ALONE, subnet, False, found["after"]["test"])
    content = {
        "folder": str(recipe.folder),
        **{key: row[key] for key in ("subnet", "macs", "params")},
        **{key: getattr(recipe.schedule, key) for key in ("duration", "kd_ratio")},
        "seed": recipe.seed,
        **{f"{images}_images": accuracy.samples for images, accuracy in found["after"].items()},
        **figures,
        "gain": {key: value - figures["before"][key] for key, value in figures["after"].items()},
        "sha256": _digests(opened),
    }

    def keep() -> None:
        write_evaluation(recipe.folder / EVALUATION, [row])
        write_json(recipe.folder / FINETUNING, content)

    processes.on_main(keep)
    return content


def _figures(accuracies: Accuracies) -> dict[str, float]:
    top1 = {f"{images}_top1": accuracy.top1 for images, accuracy in accuracies.items()}
    return {**top1, "test_top5": accuracies["test"].top5}


def _texts(label: str, figures: dict[str, float], sign: str) -> dict[str, str]:
    return {"label": label, **{key: format(value, f"{sign}.2f") for key, value in figures.items()}}
