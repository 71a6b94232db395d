"""The training loop: what the schedule says, step by step, until the end or until somebody asks to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import torch

from data_shards.loading.loader import Batch, TrainLoader
from data_shards.randomness import Purpose
from pipeline.checkpoints.belonging import misfit_of
from pipeline.checkpoints.checkpoint import Checkpoint, Progress, prepare_checkpoint
from pipeline.checkpoints.writer import CheckpointWriter
from pipeline.engines.protocol import Engine, TrainingState
from pipeline.evaluation.evaluate import Evaluator
from pipeline.methods.draws import step_bits
from pipeline.methods.schedule import Schedule, StepPlan
from pipeline.processes.group import FAILURES, Processes
from pipeline.recipe.recipe import Recipe
from pipeline.supernet.reorganise import channel_groups, channel_orders, reorganise
from pipeline.supernet.space import Space
from pipeline.tracking.ledger import Ledger
from pipeline.tracking.tracker import Tracker
from pipeline.training.display import TrainingProgress
from pipeline.training.feed import feed
from pipeline.training.milestones import intervals
from pipeline.training.pace import Pace
from pipeline.training.roll_back import passed_over, roll_back
from pipeline.training.sandwich import StepResult, sandwich_step
from pipeline.training.skipped import SkippedSamples
from pipeline.training.stop_request import StopRequest
from pipeline.training.window import NotFinite, Window

# Where processes agree on the signal to stop for: that a checkpoint could not be written.
_UNWRITTEN = 1000


class Trainer:
    """Trains a supernet by its schedule, evaluating, saving and logging on the way.

    Args:
        loader: batches from `progress.step` on.
        tracker: of the main process; None in the others.
        accuracy: of the checkpoint taken up; None where it was not evaluated.
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
        accuracy: float | None,
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
        self.every = intervals(recipe, schedule)
        self.window = Window(processes, recipe.batch_size, ledger)
        self.pace = Pace(processes)
        self.writer = CheckpointWriter(recipe.checkpoint.timeout)
        self.saved_step = progress.step or None  # what was taken up is not written again: it may tell of its accuracy
        self.accuracy = accuracy  # as of the step just done
        self.display = TrainingProgress(recipe.name, schedule.steps, progress.step, visible=processes.is_main)

    def train(self) -> signal.Signals | None:
        """Train to the end; the signal where one asked to stop before. Either way, a checkpoint is written.

        Raises:
            ShardDamage: on the process that met it, after saving; or on the main one, for more than may be skipped.
            ReaderLost, OSError: on the process that met it, after saving.
            RunFailure: for a loss that is not finite, where the recipe does not let the run go back to its last
                checkpoint (which stays); for a failure of another process.
        """
        with self.display, self.writer:
            self._make_up_evaluation()
            batches = iter(self.loader)
            while self.progress.step < self.schedule.steps:
                began, read = time.perf_counter(), self.loader.wait_seconds
                with self.ledger.charge("data_wait"), self._saving_on_failure():
                    batch = self.processes.together(lambda: next(batches))
                    self.skipped.settle(self.loader.skipped)
                    self.loader.skipped.clear()
                    stop = self.processes.highest(_UNWRITTEN if self.writer.failed else self.stop_request.signal or 0)
                if stop == _UNWRITTEN:
                    self.processes.together(self.writer.finish, main_only=True)  # raises on all
                if stop:
                    self._save_whole()
                    return signal.Signals(stop)
                assert batch is not None
                plan = self.schedule.at(self.progress.step)
                met = time.perf_counter()
                with self.ledger.charge(plan.phase):
                    result = self._step(plan, batch, began, waited=met - began)
                worked = self.loader.wait_seconds - read + result.worked_until - met
                self.pace.add(worked, held=time.perf_counter() - began)
                self._after_step(plan)
            self._save_whole()
        return None

    def _make_up_evaluation(self) -> None:
        """Evaluate what was taken up, where damaged data kept the earlier start from it."""
        done = self.progress.step
        if done and self.accuracy is None and self._evaluates(done):
            figures = self._evaluate(done, regular=True)
            self._log(self.schedule.at(done - 1), done, figures)
            self.saved_step = None
            self._save()

    @contextmanager
    def _saving_on_failure(self, figures: dict[str, float] | None = None) -> Iterator[None]:
        """Save the steps done before leaving for data that cannot be read, which all processes do together.

        Args:
            figures: of the steps done, where they were read already; they are logged, too.
        """
        try:
            yield
        except FAILURES:  # others get a PeerFailure whichever it is, and all must save or none
            if figures:
                self._log(self.schedule.at(self.progress.step - 1), self.progress.step, figures)
            self._save_whole()
            raise

    def _step(self, plan: StepPlan, batch: Batch, began: float, waited: float) -> StepResult:
        self.accuracy = None
        if plan.reorganised and not self.progress.reorganised:
            self.window.wait()
            self.engine.load_state(sort_channels(self.engine.full_state(), self.schedule.space))
            self.progress.reorganised = True
        self._seed_dropout(plan.step)
        images, labels = feed(batch, self.processes.device, self.recipe.data.augmentation, self.schedule.space.classes)
        result = sandwich_step(self.engine, plan, images, labels, self.recipe.loss)
        self.window.add(plan, result, began, waited)
        self.progress.step += 1
        return result

    def _seed_dropout(self, step: int) -> None:
        # A function of the step, so that a resumed run drops the same features.
        torch.manual_seed(step_bits(self.recipe.seed, step, Purpose.DROPOUT, self.processes.rank))

    def _after_step(self, plan: StepPlan) -> None:
        """Log, evaluate and save where their intervals say so; `plan` is the step just done."""
        done = self.progress.step
        regular = self._evaluates(done)
        saving = _due(self.every.save, done)
        if regular or saving or self._shrinking(done) or _due(self.every.log, done):
            figures = self._figures()  # before an evaluation, which is for nothing if a loss was not finite
            with self._saving_on_failure(figures):
                figures |= self._evaluate(done, regular)
            self._log(plan, done, figures)
        else:
            self.display.advance(done)
        if saving:
            self._save()

    def _figures(self) -> dict[str, float]:
        """Those of the steps since the last line; none where a loss was not finite, and the run has gone back."""
        began = time.perf_counter()
        try:
            figures = self.window.read()
        except NotFinite as failure:
            with self.ledger.charge("checkpoint"):
                self._roll_back(failure)
            return {}
        self.pace.add_wait(time.perf_counter() - began)
        return figures

    def _roll_back(self, failure: NotFinite) -> None:
        """Take up the newest checkpoint. The steps since are passed over, as their samples would fail again."""
        self.processes.together(self.writer.finish, main_only=True)
        back = roll_back(self.recipe, self.processes, self.progress, failure, misfit_of(self.schedule))
        self.engine.load_state(back.state)
        self.progress, self.accuracy = back.progress, None
        for line in back.lines:
            self.display.say(line)

    def _evaluate(self, done: int, regular: bool) -> dict[str, float]:
        if not regular and not self._shrinking(done):
            return {}
        with self.ledger.charge("evaluation"):
            supernet = self.engine.whole_supernet()
            accuracy = self.evaluator.full_model(supernet)
            metrics = {"acc/full": accuracy.top1, "loss/full_held_out": accuracy.loss}
            if regular:
                smallest = self.evaluator.subnet(supernet, self.schedule.space.smallest())
                self.accuracy = (accuracy.top1 + smallest.top1) / 2
                metrics |= {"acc/smallest": smallest.top1, "loss/smallest_held_out": smallest.loss}
        return metrics

    def _evaluates(self, done: int) -> bool:
        return _due(self.every.evaluate, done) or done == self.schedule.steps

    def _shrinking(self, done: int) -> bool:
        """Whether the full model is evaluated once more, as its accuracy may dip where shrinking begins."""
        since = done - self.schedule.shrink_start
        lasts = max(self.schedule.ramp, self.schedule.steps_per_epoch)
        return 0 <= since <= lasts and _due(self.every.evaluate_full_when_shrinking, since)

    def _log(self, plan: StepPlan, done: int, figures: dict[str, float]) -> None:
        waiting, slow = self.pace.read()
        metrics = figures | waiting | self.skipped.metrics() | passed_over(self.progress)
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
        self.ledger.step = done  # from the next saving on

    def _save_whole(self) -> None:
        """Save, and wait until it is written."""
        self._save()
        with self.ledger.charge("checkpoint"):
            self.processes.together(self.writer.finish, main_only=True)

    def _save(self) -> None:
        """Have a checkpoint of the steps done written, unless a loss since the last log line was not finite."""
        if self.saved_step == self.progress.step:
            return
        if not self.window.empty:
            self._log(self.schedule.at(self.progress.step - 1), self.progress.step, self._figures())
        with self.ledger.charge("checkpoint"):
            state = self._finite_state()
            self.processes.together(lambda: self._begin_writing(state), main_only=True)
        self.saved_step = self.progress.step

    def _finite_state(self) -> TrainingState:
        """What to save: after going back, where the last update overflowed, which no loss tells yet."""
        state = self.engine.full_state()
        damaged = [name for name, tensor in state.weights.items() if not bool(torch.isfinite(tensor).all())]
        if not damaged:
            return state
        self._roll_back(NotFinite(f"{damaged[0]} is not finite after step {self.progress.step - 1}"))
        return self.engine.full_state()

    def _begin_writing(self, state: TrainingState) -> None:
        assert self.tracker is not None  # of the main process
        self.tracker.sync()  # the steps of a checkpoint are not measured again
        self.ledger.save()
        ledger = asdict(self.ledger.record())
        checkpoint = Checkpoint(self.progress, state, ledger, self.accuracy)
        config = self.recipe.checkpoint
        self.writer.begin(prepare_checkpoint(self.recipe.folder, checkpoint, config.keep, config.keep_best))


def _due(interval: int, done: int) -> bool:
    return interval > 0 and done % interval == 0


def sort_channels(state: TrainingState, space: Space) -> TrainingState:
    """`state` with channels sorted by importance, momentum with them: the full model trains on as if nothing had been.

    Done once in a run's life, before the first subnet trains (METHOD §2.2).
    """
    orders = channel_orders(state.weights, channel_groups(space))
    return TrainingState(reorganise(state.weights, orders), reorganise(state.momentum, orders))
