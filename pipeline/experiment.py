"""From a recipe to a trained supernet, on one process or on each of many: prepare, build, train, close."""

from __future__ import annotations

import signal
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from data_shards.loading.loader import TrainLoader
from data_shards.open_data import open_data
from data_shards.store.index import Split
from kernels.dispatch import KernelError
from pipeline.checkpoints.belonging import misfit_of
from pipeline.checkpoints.checkpoint import Checkpoint, Progress
from pipeline.checkpoints.going_on import take_up
from pipeline.engines import build_engine
from pipeline.engines.protocol import Engine
from pipeline.errors import UsageError
from pipeline.evaluation.evaluate import Evaluator
from pipeline.methods.schedule import Schedule
from pipeline.processes.group import Processes, launched_processes
from pipeline.processes.launcher import leaving_with_the_launcher
from pipeline.processes.same_start import check_same_start
from pipeline.processes.shared_memory import fit_readers
from pipeline.recipe.recipe import Recipe
from pipeline.run import folder as run_folder
from pipeline.run.layout import CONFIG, DAMAGE, LEDGER, METRICS, RUN, SPACE, WEIGHTS
from pipeline.run.lock import hold
from pipeline.supernet.graphs import capture
from pipeline.supernet.mobilenet_v3 import Supernet
from pipeline.supernet.networks import build_space
from pipeline.supernet.store import save_supernet
from pipeline.tracking.ledger import Ledger, LedgerRecord, held_since, process_start_time, unit_for
from pipeline.tracking.metrics import lost_rows
from pipeline.tracking.tracker import Tracker
from pipeline.training.milestones import intervals
from pipeline.training.skipped import SkippedSamples
from pipeline.training.stop_request import StopRequest
from pipeline.training.trainer import Trainer


@dataclass(frozen=True)
class Experiment:
    """What a recipe and its data set come to: the training and held-out splits, and the schedule over the space."""

    train: Split
    test: Split
    schedule: Schedule

    @property
    def identity(self) -> dict[str, str]:
        """SHA-256 of each split's index: what tells one data set from another of the same size."""
        return {split.name: split.entry.index_sha256 for split in (self.train, self.test)}


def prepare(recipe: Recipe) -> Experiment:
    """Open the data and lay out the schedule.

    Raises:
        UsageError: where data and recipe do not fit together.
    """
    train, test = open_data(recipe.data)
    if recipe.train_samples not in (None, len(train)):
        raise UsageError(
            f"train_samples: the recipe says {recipe.train_samples}, {recipe.data.shards} has {len(train)}"
        )
    space = build_space(recipe.space, train.num_classes)
    if recipe.batch_size > len(train):
        raise UsageError(f"batch_size: {recipe.batch_size} is more than the {len(train)} training samples")
    schedule = Schedule(recipe.schedule, space, len(train) // recipe.batch_size, recipe.seed)
    intervals(recipe, schedule)  # refused here, before anything is written
    return Experiment(train, test, schedule)


def train(recipe: Recipe, resume: bool) -> signal.Signals | None:
    """Train what `recipe` describes, from the start or from the newest checkpoint.

    Returns:
        The signal that stopped it before its end, if any.
    """
    stop_request = StopRequest()
    with (
        launched_processes(recipe.engine.lost_after) as processes,
        stop_request.listening(),
        leaving_with_the_launcher(stopping=lambda: stop_request.signal is not None),
        ExitStack() as closing,
    ):
        check_same_start(processes, run_folder.leaves(recipe), resume)
        if recipe.batch_size % processes.world:
            raise UsageError(f"batch_size: {recipe.batch_size} cannot be split over {processes.world} processes")
        experiment = processes.together(lambda: prepare(recipe))
        assert experiment is not None
        schedule = experiment.schedule
        data = fit_readers(recipe.data, experiment.train, _read_at_once(recipe, schedule, processes), processes)
        processes.together(lambda: run_folder.begin(recipe, experiment.identity, resume))
        # Before anything of a run is read: an earlier start of it may be about to save and leave.
        lock = processes.together(lambda: hold(recipe.folder) if recipe.folder.exists() else None, main_only=True)
        warnings: list[str] = []
        checkpoint = take_up(recipe.folder, processes, warnings, misfit_of(schedule)) if resume else None
        progress = checkpoint.progress if checkpoint else Progress()
        if lost := processes.together(lambda: lost_rows(recipe.folder / METRICS, progress.step), main_only=True):
            warnings.append(lost)
        if lost := processes.together(lambda: lost_ledger(recipe.folder, progress.step), main_only=True):
            warnings.append(lost)
        ledger = processes.together(lambda: open_ledger(recipe, processes, checkpoint))
        assert ledger is not None
        loader = TrainLoader(
            experiment.train,
            data,
            schedule.resolution,
            recipe.batch_size,
            recipe.seed,
            processes.rank,
            processes.world,
            progress.step,
            schedule.steps,
        )
        engine = build(recipe, schedule, processes)
        # All have read what earlier starts left, and nothing is left to refuse: now the main process may write.
        processes.highest(0)
        kernels = engine.supernet.operations(processes.device.type).name
        about = run_folder.describe(recipe, schedule, processes, experiment.identity, kernels)
        lock = processes.together(lambda: lock or hold(recipe.folder), main_only=True)
        processes.together(lambda: run_folder.write(recipe, about), main_only=True)
        if checkpoint:
            engine.load_state(checkpoint.state)
        skipped = SkippedSamples(experiment.train, recipe.data, recipe.folder, processes)
        evaluator = Evaluator(experiment.train, experiment.test, data, recipe.evaluation, processes)
        tracker = processes.together(lambda: track(recipe, ledger), main_only=True)
        if tracker is not None:
            closing.callback(give_up, tracker)
        trainer = Trainer(
            recipe,
            schedule,
            engine,
            loader,
            skipped,
            evaluator,
            processes,
            ledger,
            tracker,
            progress,
            checkpoint.accuracy if checkpoint else None,
            stop_request,
        )
        for line in (*warnings, *_greeting(recipe, schedule, processes, progress, kernels, loader.reader)):
            trainer.display.say(line)

        stopped = trainer.train()

        state = engine.full_state()
        if not stopped:
            processes.together(lambda: save_supernet(recipe.folder, schedule.space, state.weights), main_only=True)
        if tracker is not None:
            closing.pop_all()
            if summary := skipped.summary():
                trainer.display.say(summary)
            trainer.display.say(_farewell(recipe, trainer.progress, schedule, stopped))
        processes.together(lambda: close(tracker, ledger, recipe.folder, stopped), main_only=True)
        if lock is not None:
            lock.close()
        processes.highest(0)  # leave together: a launcher ends the others as soon as one has gone
        return stopped


def _read_at_once(recipe: Recipe, schedule: Schedule, processes: Processes) -> list[tuple[int, int]]:
    """Images and side of the batches that are read in one process: training's stay ready while it evaluates."""
    side = max(schedule.space.resolutions)
    return [(recipe.batch_size // processes.world, side), (recipe.evaluation.batch_size, side)]


def open_ledger(recipe: Recipe, processes: Processes, checkpoint: Checkpoint | None) -> Ledger:
    """The run's ledger, going on from what earlier starts have cost."""
    ledger = Ledger(
        recipe.folder / LEDGER,
        processes.world,
        unit_for(processes.device.type),
        recipe.cost.price_per_gpu_hour if processes.device.type == "cuda" else None,
        # The job's time is told by the clock of the first node, where the main process is; others may differ.
        held_since() if processes.is_main else process_start_time(),
        earlier=LedgerRecord.from_json(checkpoint.ledger) if checkpoint else None,
    )
    ledger.step = checkpoint.step if checkpoint else 0
    return ledger


def lost_ledger(folder: Path, step: int) -> str | None:
    """A line where the ledger of a run that goes on at `step` is not there; None where it is, or nothing was paid."""
    if (folder / LEDGER).exists() or not (folder / METRICS).exists():
        return None
    known = f"only what the checkpoint of step {step} tells of is counted" if step else "all of it is lost"
    return f"{folder / LEDGER}: is not there; of what earlier starts cost, {known}"


def track(recipe: Recipe, ledger: Ledger) -> Tracker:
    """The tracker of the main process."""
    ledger.save()  # a start that is killed before its first log line has cost something too
    tags = {"approach": recipe.approach, "dataset": recipe.data.shards.name}
    return Tracker(recipe.folder, recipe.tracking, recipe.name, run_folder.resolved(recipe), tags)


def give_up(tracker: Tracker) -> None:
    """End the tracking of a run that fails. On a full disk that fails too, and what ended the run is told already."""
    with suppress(OSError):
        tracker.close("FAILED")


def close(tracker: Tracker | None, ledger: Ledger, folder: Path, stopped: signal.Signals | None) -> None:
    """Hand over what the run has come to, and end its tracking; by the main process, which has the tracker."""
    assert tracker is not None
    ledger.save()
    damage = (DAMAGE,) if (folder / DAMAGE).exists() else ()
    for name in (CONFIG, RUN, LEDGER, *damage, *(() if stopped else (WEIGHTS, SPACE))):
        tracker.log_artifact(folder / name)
    tracker.close("KILLED" if stopped else "FINISHED")
    ledger.save()


def build(recipe: Recipe, schedule: Schedule, processes: Processes) -> Engine:
    """The engine around a new supernet, initialised by the recipe's seed: the same on all processes."""
    per_process, side = recipe.batch_size // processes.world, schedule.space.final_side
    if per_process * side * side < 2:
        raise UsageError(
            f"batch_size: {recipe.batch_size} over {processes.world} processes at {schedule.space.resolutions[0]} px "
            "leaves batch norm a single value; more images per process or a higher resolution are needed"
        )
    torch.manual_seed(recipe.seed)
    bf16 = {"fp32": False, "bf16": True, "auto": processes.device.type == "cuda"}[recipe.model.precision]
    model = recipe.model
    supernet = Supernet(schedule.space, model.dropout, bf16, recipe.kernels, model.activation_checkpointing)
    supernet.to(processes.device)
    try:
        supernet.operations(processes.device.type)
    except KernelError as error:
        raise UsageError(f"kernels: {error}") from None
    engine = build_engine(recipe.engine, supernet, recipe.optimizer, processes, recipe.batch_size)
    if recipe.model.cuda_graphs:  # after the engine, which may move the weights
        for side in reversed(schedule.space.resolutions):  # the one that needs most memory first
            images = torch.zeros(per_process, 3, side, side, device=processes.device)
            images = images.to(memory_format=torch.channels_last)
            extremes = (schedule.space.largest(), schedule.space.smallest())
            capture(supernet, (replace(subnet, resolution=side) for subnet in extremes), images)
    return engine


def _greeting(
    recipe: Recipe, schedule: Schedule, processes: Processes, progress: Progress, kernels: str, reader: str
) -> list[str]:
    phases = " → ".join(f"{phase.name} {phase.start}–{phase.end}" for phase in schedule.phases)
    lines = [
        f"{recipe.name}: {recipe.approach}, {schedule.steps} steps of {recipe.batch_size} images on "
        f"{processes.world} × {processes.device.type} by {recipe.engine.title}, kernels {kernels}; "
        f"data by {reader}; {phases}"
    ]
    if progress.step:
        lines.append(f"continuing at step {progress.step}")
        if recipe.data.access == "sequential":
            lines.append("data.access: sequential: exactly as before only with as many processes and workers as before")
    return lines


def _farewell(recipe: Recipe, progress: Progress, schedule: Schedule, stopped: signal.Signals | None) -> str:
    if stopped:
        return f"stopped by {stopped.name} at step {progress.step}/{schedule.steps}, saved; continue with --resume"
    return f"done: {recipe.folder}; next: deps evaluate {recipe.folder}"
