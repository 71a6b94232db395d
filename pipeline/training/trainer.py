"""The training loop: what the schedule says, step by step, until the end or until somebody asks to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from data_shards.randomness import Purpose
from pipeline.checkpoints.checkpoint import Counters
from pipeline.checkpoints.checkpoints import Checkpoints
from pipeline.engines.protocol import Engine
from pipeline.methods.draws import step_bits
from pipeline.methods.entries import enter
from pipeline.methods.phases import FULL, StepPlan
from pipeline.methods.schedule import Schedule
from pipeline.methods.work import training_macs
from pipeline.processes.group import FAILURES
from pipeline.recipe.recipe import Recipe
from pipeline.training.feed import Feed, Read
from pipeline.training.figures import Figures
from pipeline.training.log_interval import NotFinite
from pipeline.training.milestones import milestones
from pipeline.training.sandwich import sandwich_step


class Trainer:
    """Trains a supernet by its schedule, evaluating, saving and logging on the way.

    Args:
        feed: batches from the step on that `checkpoints` tells of.
    """

    def __init__(
        self, recipe: Recipe, schedule: Schedule, engine: Engine, feed: Feed, figures: Figures, checkpoints: Checkpoints
    ) -> None:
        self.recipe = recipe
        self.schedule = schedule
        self.engine = engine
        self.feed = feed
        self.figures = figures
        self.checkpoints = checkpoints
        self.milestones = milestones(recipe, schedule)
        self.charge = figures.ledger.charge

    @property
    def counters(self) -> Counters:
        return self.checkpoints.counters

    def train(self) -> signal.Signals | None:
        """Train to the end; the signal where one asked to stop before. Either way, a checkpoint is written.

        Raises:
            ShardDamage: on the process that met it, after saving; or on the main one, for more than may be skipped.
            ReaderLost, OSError: on the process that met it, after saving.
            RunFailure: for a loss that is not finite, where the recipe does not let the run go back to its last
                checkpoint (which stays); for a failure of another process.
        """
        with self.figures.display, self.checkpoints:
            self._make_up_evaluation()
            while self.counters.step < self.schedule.steps:
                with self.charge("data_wait"), self._saving_on_failure():
                    read = self.feed.read(self.checkpoints.unwritten)
                if read.unwritten:
                    self.checkpoints.finish()  # raises on all
                if read.stop:
                    self._save_whole()
                    return read.stop
                self.step(self.schedule.at(self.counters.step), read)
                self._after_step()
            self._save_whole()
        return None

    def step(self, plan: StepPlan, read: Read) -> None:
        """Train all subnets of `plan` on the batch, and update once."""
        with self.charge(plan.phase):
            self._enter_phases(plan.step)
            self._seed_dropout(plan.step)
            images, labels = self.feed.on_device(read.batch)
            result = sandwich_step(self.engine, plan, images, labels)
            self.figures.ledger.count(self.recipe.batch_size * training_macs(self.schedule.space, result.plan))
            self.checkpoints.step_done()
        self.figures.add(result.plan, result, read)

    def _enter_phases(self, step: int) -> None:
        """Do what phases do on being entered, for those since the last step: once in a run's life each."""
        for phase in self.schedule.entries(step)[self.counters.entered :]:
            self.figures.interval.wait()
            enter(self.engine, phase.enter)
            self.counters.entered += 1

    def _seed_dropout(self, step: int) -> None:
        # A function of the step, so that a resumed run drops the same features.
        torch.manual_seed(step_bits(self.recipe.seed, step, Purpose.DROPOUT, self.feed.processes.rank))

    def _after_step(self) -> None:
        """Log, evaluate and save where that is due."""
        done = self.counters.step
        if self.milestones.logs(done):
            figures = self._read_figures()  # before an evaluation, which is for nothing if a loss was not finite
            with self._saving_on_failure(figures):
                figures |= self._evaluate()
            self._log(figures)
        else:
            self.figures.display.advance(done)
        if self.milestones.saves(done):
            self._save()

    def _make_up_evaluation(self) -> None:
        """Evaluate what was taken up, where damaged data kept the earlier start from it."""
        done = self.counters.step
        if done and self.checkpoints.accuracy is None and self.milestones.evaluates(done):
            self._log(self._evaluate())
            self._save()

    def _evaluate(self) -> dict[str, float]:
        """Held-out figures of the steps done, as far as they are due."""
        done = self.counters.step
        if not self.milestones.evaluates_full(done):
            return {}
        whole = self.milestones.evaluates(done)
        measured = self.schedule.measured
        subnets = measured if whole else {FULL: measured[FULL]}
        full_is_trained = self.schedule.phase(done - 1).trains_full
        with self.charge("evaluation"):
            figures = self.figures.held_out(self.engine.whole_supernet(), subnets, full_is_trained)
        if whole:
            self.checkpoints.evaluated(sum(figures[f"acc/{name}"] for name in subnets) / len(subnets))
        return figures

    def _read_figures(self) -> dict[str, float]:
        """Those of the steps since the last line; none where a loss was not finite, and the run has gone back.

        Then the steps since the checkpoint are passed over, as their samples would fail again.
        """
        try:
            return self.figures.read()
        except NotFinite as failure:
            with self.charge("checkpoint"):
                back = self.checkpoints.go_back(failure)
                self.engine.load_state(back.state)
            for line in back.lines:
                self.figures.display.say(line)
            return {}

    def _log(self, figures: dict[str, float]) -> None:
        done = self.counters.step
        metrics = figures | self.feed.skipped.metrics() | self.checkpoints.metrics()
        self.figures.log(done, self.schedule.phase(done - 1).name, metrics)

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
                self._log(figures)
            self._save_whole()
            raise

    def _save(self) -> None:
        """Have a checkpoint of the steps done written, once it is known that their losses are finite."""
        if self.checkpoints.up_to_date:
            return
        if not self.figures.interval.empty:
            self._log(self._read_figures())
        with self.charge("checkpoint"):
            self.checkpoints.begin(self.engine.full_state(), self.figures.keep)

    def _save_whole(self) -> None:
        """Save, and wait until it is written."""
        self._save()
        with self.charge("checkpoint"):
            self.checkpoints.finish()
