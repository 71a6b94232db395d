"""`deps predictor`: a predictor of accuracy, fitted to random subnets of a trained supernet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from data_shards.open_data import open_data
from pipeline.console.tables import print_json
from pipeline.errors import UsageError
from pipeline.evaluation.evaluate import Accuracy, Evaluator
from pipeline.evaluation.room import room_for_images
from pipeline.predictor.encoding import Encoding
from pipeline.predictor.fit import fit
from pipeline.predictor.predictor import Written
from pipeline.processes.group import launched_processes
from pipeline.processes.shared_memory import fit_readers
from pipeline.run.folder import check_data, read_recipe
from pipeline.supernet.space import Space
from pipeline.supernet.store import load_supernet
from pipeline.supernet.subnet import Subnet

_LEAST = 10  # subnets


def make_predictor(folder: Path, count: int, seed: int, output: Path) -> Written:
    """Measure `count` random subnets of the run on its validation images, recalibrated, and fit a predictor to them.

    Raises:
        UsageError: where `folder` is no finished run, its run kept no validation images, its space has too few
            subnets, or `output` is there or cannot be written.
    """
    recipe = read_recipe(folder)
    if output.exists():
        raise UsageError(f"--output {output}: is there already")
    supernet = load_supernet(folder)
    data = open_data(recipe.data)
    if data.validation is None:
        raise UsageError(
            f"{folder}: its run kept no images from training to measure on, and the test split is not for choosing; "
            "train with data.validation_samples"
        )
    identity = {split.name: split.entry.index_sha256 for split in (data.train, data.test)}
    check_data(folder, identity, recipe.data.shards)
    space = supernet.space
    subnets = random_subnets(space, count, seed)
    if len(subnets) < _LEAST:
        raise UsageError(f"--subnets {count}: are {len(subnets)} different ones in this space; {_LEAST} are needed")
    with launched_processes() as processes:
        supernet.to(processes.device)
        batches = [(recipe.evaluation.batch_size, max(space.image_sides))]
        readers = fit_readers(recipe.data, data.train, batches, processes)
        room = room_for_images(space, recipe.evaluation.batch_size, processes)
        evaluator = Evaluator(data.train, data.validation, readers, recipe.evaluation, processes, room)
        accuracies = _shown(evaluator.each(supernet, subnets), len(subnets))
        measured = np.array([accuracy.top1 for accuracy in accuracies])
    encoding = Encoding(space)
    predictor = fit(encoding, encoding.encode(subnets), measured).written(recipe.space.network, len(data.validation))
    try:
        predictor.write(output)
    except OSError as error:
        raise UsageError(f"--output {output}: cannot be written: {error.strerror}") from None
    return predictor


def random_subnets(space: Space, count: int, seed: int) -> list[Subnet]:
    """`count` subnets with every choice drawn uniformly, their resolutions too; each different one once."""
    generator = torch.Generator().manual_seed(seed)

    def drawn() -> Subnet:
        subnet = space.sample(generator)
        side = space.resolutions[int(torch.randint(len(space.resolutions), (), generator=generator))]
        return space.on_images(subnet, side)

    return list(dict.fromkeys(drawn() for _ in range(count)))


def print_predictor(folder: Path, count: int, seed: int, output: Path, as_json: bool) -> None:
    """Make a predictor and print how well it predicts; see `make_predictor`."""
    predictor = make_predictor(folder, count, seed, output)
    if as_json:
        print_json({"file": str(output), **predictor.model_dump(mode="json")})
        return
    print(
        f"{output}: fitted to {predictor.subnets} subnets of {predictor.network}, each measured on {predictor.images} "
        f"validation images; on those left out of the fit: rank correlation {predictor.rank_correlation:.2f}, "
        f"error {predictor.error:.2f} points (root mean square)"
    )


def _shown(accuracies: Iterator[Accuracy], count: int) -> Iterator[Accuracy]:
    yield from track(accuracies, "measuring subnets", count, console=Console(stderr=True), transient=True)
