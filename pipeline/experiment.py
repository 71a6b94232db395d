"""From a recipe to a trained supernet, on one process or on each of many: prepare, build, train, close."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from data_shards.loading.loader import DataConfig, TrainLoader
from data_shards.open_data import Data, open_data
from data_shards.store.index import Split
from pipeline.checkpoints.belonging import misfit_of
from pipeline.checkpoints.checkpoint import load_best_checkpoint
from pipeline.checkpoints.checkpoints import Checkpoints
from pipeline.checkpoints.roll_back import Diverged
from pipeline.errors import UsageError
from pipeline.evaluation.evaluate import Evaluator
from pipeline.methods.schedule import Schedule
from pipeline.processes.group import Processes, launched_processes
from pipeline.processes.launcher import leaving_with_the_launcher
from pipeline.processes.same_start import check_same_start
from pipeline.processes.shared_memory import fit_readers
from pipeline.recipe.recipe import Recipe
from pipeline.recipe.schedule_of import schedule_of
from pipeline.run import folder as run_folder
from pipeline.run.divergence import forget_divergence, note_divergence
from pipeline.run.earlier_starts import take_up_run
from pipeline.run.layout import CONFIG, DAMAGE, LEDGER, RUN, SPACE, WEIGHTS
from pipeline.run.lock import RunLock
from pipeline.run.picked_by import predictor_digest
from pipeline.run.start import check_start, note_of, origin_of_trained
from pipeline.supernet.networks import build_space
from pipeline.supernet.store import save_supernet
from pipeline.tracking.ledger import Ledger
from pipeline.tracking.mlflow import child_of
from pipeline.tracking.tracker import NoTracker, Tracker, Tracking
from pipeline.training.build import build
from pipeline.training.display import TrainingProgress, farewell, greeting
from pipeline.training.feed import Feed
from pipeline.training.figures import Figures
from pipeline.training.milestones import milestones
from pipeline.training.skipped import SkippedSamples
from pipeline.training.stop_request import StopRequest
from pipeline.training.trainer import Trainer


@dataclass(frozen=True)
class Experiment:
    """What a recipe and its data set come to: its images, and the schedule over the space."""

    recipe: Recipe
    data: Data
    schedule: Schedule

    @property
    def identity(self) -> dict[str, str]:
        """SHA-256 of each split's index: what tells one data set from another of the same size."""
        return {split.name: split.entry.index_sha256 for split in (self.data.train, self.data.test)}

    @property
    def held_out(self) -> Split:
        """What accuracy is measured on while the run goes on: its validation images, where it has some."""
        return self.data.validation or self.data.test

    def readers(self, processes: Processes) -> DataConfig:
        """How data is read, as far as the machines have the shared memory for it. All processes must call it."""
        recipe, side = self.recipe, max(self.schedule.space.image_sides)
        # Those of training stay ready while it evaluates.
        at_once = [(recipe.batch_size // processes.world, side), (recipe.evaluation.batch_size, side)]
        return fit_readers(recipe.data, self.data.train, at_once, processes)

    def loader(self, data: DataConfig, step: int, processes: Processes) -> TrainLoader:
        """This process's batches from `step` on."""
        recipe, schedule = self.recipe, self.schedule
        return TrainLoader(
            self.data.train,
            data,
            schedule.resolution,
            recipe.batch_size,
            recipe.seed,
            processes.rank,
            processes.world,
            step,
            schedule.steps,
        )


def prepare(recipe: Recipe) -> Experiment:
    """Open the data and lay out the schedule.

    Raises:
        UsageError: where data and recipe do not fit together.
    """
    data = open_data(recipe.data)
    packed = len(data.train) + len(data.validation or ())
    if recipe.train_samples not in (None, packed):
        raise UsageError(f"train_samples: the recipe says {recipe.train_samples}, {recipe.data.shards} has {packed}")
    space = build_space(recipe.space, data.train.num_classes)
    schedule = schedule_of(recipe, space, recipe.steps_per_epoch(packed))
    milestones(recipe, schedule)  # refused here, before anything is written
    return Experiment(recipe, data, schedule)


def train(recipe: Recipe, resume: bool) -> signal.Signals | None:
    """Train what `recipe` describes on the processes of the launcher; see `train_on`."""
    with launched_processes(recipe.engine.lost_after) as processes:
        return train_on(processes, recipe, resume)


def train_on(processes: Processes, recipe: Recipe, resume: bool) -> signal.Signals | None:
    """Train what `recipe` describes, from the start or from the newest checkpoint. All processes call it together.

    Returns:
        The signal that stopped it before its end, if any.
    """
    stop_request = StopRequest()
    with (
        stop_request.listening(),
        leaving_with_the_launcher(stopping=lambda: stop_request.signal is not None),
        RunLock(recipe.folder) as lock,
    ):
        picked_by = processes.together(lambda: predictor_digest(recipe))
        check_same_start(processes, {**run_folder.leaves(recipe), "the predictor's SHA-256": picked_by}, resume)
        if recipe.batch_size % processes.world:
            raise UsageError(f"batch_size: {recipe.batch_size} cannot be split over {processes.world} processes")
        experiment = processes.together(lambda: prepare(recipe))
        schedule, data = experiment.schedule, experiment.readers(processes)
        processes.together(lambda: run_folder.begin(recipe, experiment.identity, resume))
        # Before anything of a run is read: an earlier start of it may be about to save and leave.
        processes.on_main(lambda: lock.take() if recipe.folder.exists() else None)
        left = take_up_run(recipe, schedule, resume, processes)
        has_begun = left.checkpoint is not None and left.checkpoint.counters.entered > 0
        start = processes.together(lambda: check_start(recipe, schedule.space, has_begun))
        loader = experiment.loader(data, left.step, processes)
        engine = build(recipe, schedule, processes)
        processes.barrier()
        # All have read what earlier starts left, and nothing is left to refuse: now the main process may write.
        kernels = engine.supernet.operations(processes.device.type).name
        about = run_folder.new_description(recipe, schedule, processes, experiment.identity, kernels, start)
        processes.on_main(lock.take)
        processes.on_main(lambda: run_folder.write(recipe, about))
        processes.on_main(lambda: forget_divergence(recipe.folder))
        if left.checkpoint:
            engine.load_state(left.checkpoint.state)

        skipped = SkippedSamples(experiment.data.train, recipe.data, recipe.folder, processes)
        evaluator = Evaluator(experiment.data.train, experiment.held_out, data, recipe.evaluation, processes)
        checkpoints = Checkpoints(recipe.folder, recipe.checkpoint, schedule, left.checkpoint, processes)
        display = TrainingProgress(recipe.name, schedule.steps, left.step, processes.is_main, about.held_out)
        with tracked(recipe, left.ledger, processes) as tracker:
            feed = Feed(loader, skipped, stop_request, recipe.data.augmentation, schedule.space.classes, processes)
            figures = Figures(recipe.batch_size, evaluator, left.ledger, tracker, display, processes)
            trainer = Trainer(recipe, schedule, engine, feed, figures, checkpoints)
            greetings = greeting(recipe, schedule, processes, left.step, kernels, loader.reader)
            for line in (*left.warnings, *greetings, *note_of(start, recipe.folder)):
                display.say(line)
            with _noting_divergence(recipe.folder):
                stopped = trainer.train()
            if not stopped:
                last = engine.full_state().weights
                origin = origin_of_trained(start)
                processes.on_main(
                    lambda: save_supernet(recipe.folder, schedule.space, left_by(recipe, schedule, last), origin)
                )
        for line in filter(None, (skipped.summary(), farewell(recipe, trainer.counters.step, schedule, stopped))):
            display.say(line)
        processes.on_main(lambda: close(tracker, left.ledger, recipe.folder, stopped))
        processes.barrier()  # leave together: a launcher ends the others as soon as one has gone
        return stopped


@contextmanager
def _noting_divergence(folder: Path) -> Iterator[None]:
    """Keep in the run's folder that it diverged, for those who start it, as `deps compare`."""
    try:
        yield
    except Diverged as failure:
        note_divergence(folder, str(failure))
        raise


def left_by(recipe: Recipe, schedule: Schedule, last: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The weights that a run leaves at its end: the last ones, or those that were best on validation images."""
    if recipe.model.end == "last":
        return last
    return load_best_checkpoint(recipe.folder, [], misfit_of(schedule)).state.weights


@contextmanager
def tracked(recipe: Recipe, ledger: Ledger, processes: Processes) -> Iterator[Tracking]:
    """The tracker of a run, which tells that it failed where it does."""
    tracker = processes.together(lambda: track(recipe, ledger) if processes.is_main else NoTracker())
    try:
        yield tracker
    except BaseException:
        with suppress(OSError):  # a full disk, say; what ended the run is told already
            tracker.close("FAILED")
        raise


def track(recipe: Recipe, ledger: Ledger) -> Tracker:
    """The tracker of the main process."""
    ledger.save()  # a start that is killed before its first log line has cost something too
    tags = {"approach": recipe.approach, "dataset": recipe.data.shards.name}
    if recipe.model.start is not None:
        tags |= child_of(recipe.model.start, recipe.tracking)
    return Tracker(recipe.folder, recipe.tracking, recipe.name, run_folder.resolved(recipe), tags)


def close(tracker: Tracking, ledger: Ledger, folder: Path, stopped: signal.Signals | None) -> None:
    """Hand over what the run has come to, and end its tracking."""
    ledger.save()
    damage = (DAMAGE,) if (folder / DAMAGE).exists() else ()
    for name in (CONFIG, RUN, LEDGER, *damage, *(() if stopped else (WEIGHTS, SPACE))):
        tracker.log_artifact(folder / name)
    tracker.close("KILLED" if stopped else "FINISHED")
    ledger.save()
