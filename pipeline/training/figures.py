"""What a run measures of itself, and who is told: a person, the run folder, MLflow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pipeline.evaluation.evaluate import Evaluator
from pipeline.methods.phases import FULL, StepPlan
from pipeline.processes.group import Processes
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet
from pipeline.tracking.ledger import Ledger
from pipeline.tracking.tracker import Tracking
from pipeline.training.display import TrainingProgress
from pipeline.training.feed import Read
from pipeline.training.log_interval import LogInterval
from pipeline.training.pace import Pace
from pipeline.training.sandwich import StepResult


class Figures:
    """Collects the figures of the steps since the last log line, and tells them with accuracy, pace and cost.

    All processes must call `read`, `held_out` and `log` together.

    Args:
        batch_size: global.
    """

    def __init__(
        self,
        batch_size: int,
        evaluator: Evaluator,
        ledger: Ledger,
        tracker: Tracking,
        display: TrainingProgress,
        processes: Processes,
    ) -> None:
        self.interval = LogInterval(processes, batch_size, ledger)
        self.pace = Pace(processes)
        self.evaluator = evaluator
        self.ledger = ledger
        self.tracker = tracker
        self.display = display
        self._processes = processes

    def add(self, plan: StepPlan, result: StepResult, read: Read) -> None:
        """Add a step of which the device may not have done anything yet."""
        self.interval.add(plan, result, read.began, waited=read.met - read.began)
        worked = read.waited + result.worked_until - read.met
        self.pace.add(worked, held=time.perf_counter() - read.began)

    def read(self) -> dict[str, float]:
        """Those of the steps since the last line, by name; waits for the device.

        Raises:
            NotFinite: for a loss or gradient that is not finite.
        """
        began = time.perf_counter()
        figures = self.interval.read()
        self.pace.add_wait(time.perf_counter() - began)
        return figures

    def held_out(self, supernet: Supernet, subnets: Mapping[str, Subnet], full_is_trained: bool) -> dict[str, float]:
        """Accuracy and loss of subnets, by their names.

        Args:
            full_is_trained: whether the current steps train the full model; else its running statistics are outdated,
                and it is recalibrated.

        Raises:
            ShardDamage: on the process that met damaged data; PeerFailure on the others.
        """
        figures: dict[str, float] = {}
        for name, subnet in subnets.items():
            as_it_is = name == FULL and full_is_trained
            evaluator = self.evaluator
            found = evaluator.full_model(supernet) if as_it_is else evaluator.subnet(supernet, subnet)
            figures |= {f"acc/{name}": found.top1, f"loss/{name}_held_out": found.loss}
        return figures

    def log(self, done: int, phase: str, figures: dict[str, float]) -> None:
        """Tell `figures` of the first `done` steps, with the pace of the processes and the cost so far."""
        waiting, slow = self.pace.read()
        if slow:
            self.display.say(slow)
        record = self.ledger.record()
        metrics = figures | waiting | record.metrics()
        self._processes.on_main(lambda: self._record(done, metrics))
        dollars = f" ({record.dollars:.2f} $)" if record.dollars is not None else ""
        self.display.show(done, phase, metrics, f"{record.hours:.3f} {record.unit}{dollars}")

    def _record(self, done: int, metrics: dict[str, float]) -> None:
        self.ledger.save()
        self.tracker.log(done, metrics)
        self.ledger.step = done  # from the next saving on

    def keep(self) -> dict[str, Any]:
        """On the main process: have what was told outlive the machine, as the steps of a checkpoint are not measured
        again; the cost so far, as the checkpoint tells it."""
        self.tracker.sync()
        self.ledger.save()
        return self.ledger.record().to_json()
