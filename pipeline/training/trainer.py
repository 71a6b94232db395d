"""The training loop: what the schedule says, step by step, until the end or until somebody asks to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import numpy as np
import torch

from data_shards.device_augment import augment_on_device
from data_shards.loader import Batch, TrainLoader
from pipeline.config import Recipe
from pipeline.engines.base import Engine, TrainingState
from pipeline.engines.processes import FAILURES, Processes
from pipeline.errors import RunFailure
from pipeline.evaluation.evaluate import Evaluator
from pipeline.supernet.reorganise import channel_orders, reorganise
from pipeline.tracking.ledger import Ledger
from pipeline.tracking.tracker import Tracker
from pipeline.training.checkpoint import Checkpoint, save_checkpoint
from pipeline.training.control import StopRequest
from pipeline.training.duration import to_steps
from pipeline.training.normalise import normalise
from pipeline.training.pace import Pace
from pipeline.training.progress import TrainingProgress
from pipeline.training.sandwich import StepResult, sandwich_step
from pipeline.training.schedule import Schedule, StepPlan
from pipeline.training.skipped import SkippedSamples
from pipeline.training.window import Window


@dataclass
class Progress:
    """How far the run is: all that a checkpoint holds besides the engine's state."""

    step: int = 0
    reorganised: bool = False


class Trainer:
    """Trains a supernet by its schedule, evaluating, saving and logging on the way.

    Args:
        loader: batches from `progress.step` on.
        tracker: of the main process; None in the others.
    """

    def __init__(
        self,
        recipe: Recipe,
        schedule: Schedule,
        engine: Engine,
        loader: TrainLoader,
        skipped: SkippedSamples,
        evaluator: Evaluator,
        processes: Processes,
        ledger: Ledger,
        tracker: Tracker | None,
        progress: Progress,
        stop_request: StopRequest,
    ) -> None:
        self.recipe = recipe
        self.schedule = schedule
        self.engine = engine
        self.loader = loader
        self.skipped = skipped
        self.evaluator = evaluator
        self.processes = processes
        self.ledger = ledger
        self.tracker = tracker
        self.progress = progress
        self.stop_request = stop_request
        self.log_every = self._in_steps(recipe.log_every)
        self.evaluate_every = self._in_steps(recipe.evaluation.every)
        self.evaluate_full_when_shrinking_every = self._in_steps(recipe.evaluation.full_when_shrinking)
        self.save_every = self._in_steps(recipe.checkpoint.every)
        self.window = Window(processes, recipe.batch_size)
        self.pace = Pace(processes)
        self.saved_step: int | None = None
        self.display = TrainingProgress(recipe.name, schedule.steps, progress.step, visible=processes.is_main)

    def train(self) -> signal.Signals | None:
        """Train to the end; the signal where one asked to stop before. Either way, a checkpoint is written.

        Raises:
            ShardDamage: on the process that met it, after saving; or on the main one, for more than may be skipped.
            OSError: on the process that met it, after saving.
            RunFailure: for a loss that is not finite (the last checkpoint stays), or a failure of another process.
        """
        with self.display:
            batches = iter(self.loader)
            while self.progress.step < self.schedule.steps:
                began, read = time.perf_counter(), self.loader.wait_seconds
                with self.ledger.charge("data_wait"), self._saving_on_failure():
                    batch = self.processes.together(lambda: next(batches))
                    self.skipped.settle(self.loader.skipped)
                    self.loader.skipped.clear()
                    stop = self.processes.highest(self.stop_request.signal or 0)
                if stop:
                    self._save()
                    return signal.Signals(stop)
                assert batch is not None
                plan = self.schedule.at(self.progress.step)
                met = time.perf_counter()
                with self.ledger.charge(plan.phase):
                    result = self._step(plan, batch, waited=met - began)
                worked = self.loader.wait_seconds - read + result.worked_until - met
                self.pace.add(worked, held=time.perf_counter() - began)
                self._after_step(plan)
            self._save()
        return None

    @contextmanager
    def _saving_on_failure(self) -> Iterator[None]:
        """Save the steps done before leaving for data that cannot be read, which all processes do together."""
        try:
            yield
        except FAILURES:  # others get a PeerFailure whichever it is, and all must save or none
            self._save()
            raise

    def _step(self, plan: StepPlan, batch: Batch, waited: float) -> StepResult:
        began = time.perf_counter()
        if plan.reorganised and not self.progress.reorganised:
            self.engine.load_state(sort_channels(self.engine.full_state()))
            self.progress.reorganised = True
        self._seed_dropout(plan.step)
        images, labels = self._varied(batch)
        result = sandwich_step(self.engine, plan, images, labels, self.recipe.loss)
        self.window.add(plan, result, began, waited)
        self.progress.step += 1
        return result

    def _varied(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised images and labels, mixed where the recipe says so, on the device."""
        device = self.processes.device
        images, labels, draws = (
            part.to(device, non_blocking=True) for part in (batch.images, batch.labels, batch.draws)
        )
        augmentation, classes = self.recipe.data.augmentation, self.schedule.space.classes
        images, labels = augment_on_device(images, labels, draws, augmentation, classes)
        return normalise(images, device), labels

    def _seed_dropout(self, step: int) -> None:
        # A function of the step, so that a resumed run drops the same features.
        words = np.random.SeedSequence([self.recipe.seed, step, self.processes.rank]).generate_state(1, np.uint64)
        torch.manual_seed(int(words[0]))

    def _after_step(self, plan: StepPlan) -> None:
        """Log, evaluate and save where their intervals say so; `plan` is the step just done."""
        done = self.progress.step
        evaluated = self._evaluate(done)
        if evaluated or _due(self.log_every, done) or done == self.schedule.steps:
            self._log(plan, done, evaluated)
        else:
            self.display.advance(done)
        if _due(self.save_every, done):
            self._save()

    def _evaluate(self, done: int) -> dict[str, float]:
        regular = _due(self.evaluate_every, done) or done == self.schedule.steps
        if not regular and not self._shrinking(done):
            return {}
        with self.ledger.charge("evaluation"), self._saving_on_failure():
            supernet = self.engine.whole_supernet()
            accuracy = self.evaluator.full_model(supernet)
            metrics = {"acc/full": accuracy.top1, "loss/full_held_out": accuracy.loss}
            if regular:
                smallest = self.evaluator.subnet(supernet, self.schedule.space.smallest())
                metrics |= {"acc/smallest": smallest.top1, "loss/smallest_held_out": smallest.loss}
        return metrics

    def _shrinking(self, done: int) -> bool:
        """Whether the full model is evaluated once more, as its accuracy may dip where shrinking begins."""
        since = done - self.schedule.shrink_start
        lasts = max(self.schedule.ramp, self.schedule.steps_per_epoch)
        return 0 <= since <= lasts and _due(self.evaluate_full_when_shrinking_every, since)

    def _in_steps(self, interval: str) -> int:
        return to_steps(interval, self.schedule.steps_per_epoch, self.schedule.steps)

    def _log(self, plan: StepPlan, done: int, evaluated: dict[str, float]) -> None:
        waiting, slow = self.pace.read()
        metrics = self.window.read() | waiting | evaluated | self.skipped.metrics()
        if slow:
            self.display.say(slow)
        record = self.ledger.record()
        metrics |= record.metrics()
        self.processes.together(lambda: self._record(done, metrics), main_only=True)
        dollars = f" ({record.dollars:.2f} $)" if record.dollars is not None else ""
        self.display.show(done, plan.phase, metrics, f"{record.hours:.3f} {record.unit}{dollars}")

    def _record(self, done: int, metrics: dict[str, float]) -> None:
        assert self.tracker is not None  # of the main process
        self.ledger.save()
        self.tracker.log(done, metrics)

    def _save(self) -> None:
        """Write a checkpoint of the steps done, unless a loss since the last log line was not finite."""
        if self.saved_step == self.progress.step:
            return
        if not self.window.empty:
            self._log(self.schedule.at(self.progress.step - 1), self.progress.step, {})
        with self.ledger.charge("checkpoint"):
            state = self.engine.full_state()
            self.processes.together(lambda: self._write(state), main_only=True)
        self.saved_step = self.progress.step

    def _write(self, state: TrainingState) -> None:
        damaged = [name for name, tensor in state.weights.items() if not bool(torch.isfinite(tensor).all())]
        if damaged:
            raise RunFailure(f"weights {damaged[0]} are not finite after step {self.progress.step - 1}; not saved")
        self.ledger.save()
        ledger = asdict(self.ledger.record())
        checkpoint = Checkpoint(self.progress.step, self.progress.reorganised, state, ledger)
        save_checkpoint(self.recipe.folder, checkpoint, self.recipe.checkpoint.keep)


def _due(interval: int, done: int) -> bool:
    return interval > 0 and done % interval == 0


def sort_channels(state: TrainingState) -> TrainingState:
    """`state` with channels sorted by importance, momentum with them: the full model trains on as if nothing had been.

    Done once in a run's life, before the first subnet trains (METHOD §2.2).
    """
    orders = channel_orders(state.weights)
    return TrainingState(reorganise(state.weights, orders), reorganise(state.momentum, orders))
