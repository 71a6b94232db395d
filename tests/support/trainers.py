"""A trainer in this process, over packed digits, as a run builds it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_shards.loading.loader import TrainLoader
from pipeline.checkpoints.checkpoint import Progress
from pipeline.engines.protocol import Engine
from pipeline.evaluation.evaluate import Evaluator
from pipeline.experiment import build, prepare
from pipeline.processes.group import Processes
from pipeline.recipe.reading import load_recipe
from pipeline.recipe.recipe import Recipe
from pipeline.tracking.ledger import Ledger, unit_for
from pipeline.training.skipped import SkippedSamples
from pipeline.training.stop_request import StopRequest
from pipeline.training.trainer import Trainer

RECIPE = Path(__file__).parents[2] / "recipes" / "digits.yaml"

# All that the device does to a batch, and to the gradients.
VARIED = [
    "data.augmentation.mixup=0.2",
    "data.augmentation.cutmix=1",
    "data.augmentation.random_erasing.probability=0.5",
    "data.augmentation.colour_jitter=[0.4, 0.4, 0.4, 0.1]",
    "optimizer.gradient_clip=1",
]


class Noted:
    """A tracker that keeps what it is told, by step."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, float]] = {}

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.rows[step] = dict(metrics)

    def sync(self) -> None: ...


def digits_recipe(digits: Path, folder: Path, *overrides: str) -> Recipe:
    """`recipes/digits.yaml` on the plain engine, in small batches, without reader processes."""
    alone = ["engine.name=single", "batch_size=16", "data.workers=0", "tracking.mlflow=false"]
    return load_recipe(RECIPE, [f"data.shards={digits}", f"runs={folder}", *alone, *overrides])


def digits_trainer(recipe: Recipe, processes: Processes, engine: Engine | None = None) -> tuple[Trainer, Noted]:
    """The trainer of a recipe from its first step on, and what it logs."""
    experiment = prepare(recipe)
    schedule, noted = experiment.schedule, Noted()
    loader = TrainLoader(
        experiment.train,
        recipe.data,
        schedule.resolution,
        recipe.batch_size,
        recipe.seed,
        processes.rank,
        processes.world,
        0,
        schedule.steps,
    )
    recipe.folder.mkdir(parents=True)
    evaluator = Evaluator(experiment.train, experiment.test, recipe.data, recipe.evaluation, processes)
    tracker: Any = noted
    trainer = Trainer(
        recipe,
        schedule,
        engine or build(recipe, schedule, processes),
        loader,
        SkippedSamples(experiment.train, recipe.data, recipe.folder, processes),
        evaluator,
        processes,
        Ledger(recipe.folder / "ledger.json", 1, unit_for(processes.device.type), None, time.time()),
        tracker,
        Progress(),
        None,
        StopRequest(),
    )
    return trainer, noted
