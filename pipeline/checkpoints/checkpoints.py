"""The checkpoints of a run as it trains: what it went on from, what it writes, and what it goes back to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.checkpoints.belonging import misfit_of
from pipeline.checkpoints.checkpoint import Checkpoint, CheckpointConfig, Counters, prepare_checkpoint
from pipeline.checkpoints.roll_back import RollBack, roll_back
from pipeline.checkpoints.writer import CheckpointWriter
from pipeline.engines.protocol import TrainingState
from pipeline.errors import RunFailure
from pipeline.methods.schedule import Schedule
from pipeline.processes.group import Processes


class Checkpoints:
    """Has checkpoints written beside the training, by the main process; on leaving the context, waits for the last.

    All processes must call its methods together.

    Args:
        run_folder: gets them.
        schedule: of the run, which those that it goes back to must fit.
        taken_up: what the run goes on from; None where it begins.

    Attributes:
        counters: how far the run is.
        accuracy: held-out, of the steps done; see `Checkpoint`. None where they were not evaluated.
    """

    def __init__(
        self,
        run_folder: Path,
        config: CheckpointConfig,
        schedule: Schedule,
        taken_up: Checkpoint | None,
        processes: Processes,
    ) -> None:
        self.counters = taken_up.counters if taken_up else Counters()
        self.accuracy = taken_up.accuracy if taken_up else None
        self._folder, self._config, self._schedule = run_folder, config, schedule
        self._processes = processes
        self._writer = CheckpointWriter(config.timeout)
        # What was taken up is not written again, and may be the best one.
        self._saved_step = taken_up.step if taken_up else None

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception: object) -> None:
        self._writer.__exit__(*exception)

    @property
    def unwritten(self) -> bool:
        """Whether writing a checkpoint has failed on this process, which `finish` raises; may be asked by one alone."""
        return self._writer.failed

    @property
    def up_to_date(self) -> bool:
        """Whether the steps done have their checkpoint, written or under way."""
        return self._saved_step == self.counters.step

    def step_done(self) -> None:
        self.counters.step += 1
        self.accuracy = None

    def evaluated(self, accuracy: float) -> None:
        """Note the held-out accuracy of the steps done, for their checkpoint: one that is there is written again."""
        self.accuracy, self._saved_step = accuracy, None

    def begin(self, state: TrainingState, ledger: Callable[[], dict[str, Any]]) -> None:
        """Begin to write the checkpoint of the steps done, once the one before it is written.

        Args:
            ledger: the cost so far, asked for on the main process alone.

        Raises:
            RunFailure: where the one before it could not be written; PeerFailure on the other processes.
        """

        def write() -> None:
            checkpoint = Checkpoint(self.counters, state, ledger(), self.accuracy)
            config = self._config
            self._writer.begin(prepare_checkpoint(self._folder, checkpoint, config.keep, config.keep_best))

        self._processes.on_main(write)
        self._saved_step = self.counters.step

    def finish(self) -> None:
        """Wait for the checkpoint that is being written.

        Raises:
            RunFailure: where it could not be written; PeerFailure on the other processes.
        """
        self._processes.on_main(self._writer.finish)

    def go_back(self, failure: RunFailure) -> RollBack:
        """Go back to the newest checkpoint, see `roll_back`; the caller loads its state into the engine."""
        self.finish()
        most, misfit = self._config.roll_backs, misfit_of(self._schedule)
        back = roll_back(self._folder, most, self._processes, self.counters, failure, misfit)
        self.counters, self.accuracy = back.counters, None
        return back

    def metrics(self) -> dict[str, float]:
        """How often the run has gone back, and how many steps its weights lack; nothing where it has not."""
        if not self.counters.roll_backs:
            return {}
        return {
            "optim/roll_backs": float(self.counters.roll_backs),
            "optim/steps_passed_over": float(self.counters.passed_over),
        }
