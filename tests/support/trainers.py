"""A trainer in this process, over packed digits, as a run builds it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from pipeline.checkpoints.checkpoints import Checkpoints
from pipeline.engines.protocol import Engine
from pipeline.evaluation.evaluate import Evaluator
from pipeline.experiment import prepare
from pipeline.processes.group import Processes
from pipeline.recipe.reading import load_recipe
from pipeline.recipe.recipe import Recipe
from pipeline.tracking.ledger import Ledger, unit_for
from pipeline.tracking.tracker import NoTracker
from pipeline.training.build import build
from pipeline.training.display import TrainingProgress
from pipeline.training.feed import Feed
from pipeline.training.figures import Figures
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


class Noted(NoTracker):
    """A tracker that keeps what it is told, by step."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, float]] = {}

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.rows[step] = dict(metrics)


def digits_recipe(digits: Path, folder: Path, *overrides: str) -> Recipe:
    """`recipes/digits.yaml` on the plain engine, in small batches, without reader processes."""
    alone = ["engine.name=single", "batch_size=16", "data.workers=0", "tracking.mlflow=false"]
    return load_recipe(RECIPE, [f"data.shards={digits}", f"runs={folder}", *alone, *overrides])


def digits_trainer(recipe: Recipe, processes: Processes, engine: Engine | None = None) -> tuple[Trainer, Noted]:
    """The trainer of a recipe from its first step on, and what it logs."""
    experiment, noted = prepare(recipe), Noted()
    schedule = experiment.schedule
    recipe.folder.mkdir(parents=True)
    loader = experiment.loader(recipe.data, 0, processes)
    skipped = SkippedSamples(experiment.data.train, recipe.data, recipe.folder, processes)
    classes = schedule.space.classes
    evaluator = Evaluator(experiment.data.train, experiment.held_out, recipe.data, recipe.evaluation, processes)
    ledger = Ledger(recipe.folder / "ledger.json", 1, unit_for(processes.device.type), None, time.time())
    display = TrainingProgress(recipe.name, schedule.steps, 0, visible=processes.is_main)
    trainer = Trainer(
        recipe,
        schedule,
        engine or build(recipe, schedule, processes),
        Feed(loader, skipped, StopRequest(), recipe.data.augmentation, classes, processes),
        Figures(recipe.batch_size, evaluator, ledger, noted, display, processes),
        Checkpoints(recipe.folder, recipe.checkpoint, schedule, None, processes),
    )
    return trainer, noted
