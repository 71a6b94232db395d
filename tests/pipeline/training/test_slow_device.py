"""A run's books on a device that works long after the host has given out its work: cost by phase, and images/s."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.engines.protocol import Engine, TrainingState
from pipeline.evaluation.evaluate import Accuracy
from pipeline.methods.phases import StepPlan
from pipeline.processes.group import Processes
from pipeline.training import trainer as trainer_module
from pipeline.training.sandwich import StepResult
from pipeline.training.trainer import Trainer
from tests.support.slow_device import Clock, SlowDevice
from tests.support.trainers import Noted, digits_recipe, digits_trainer

GIVING_OUT, WORK, EVALUATION, SAVING = 1.0, 10.0, 50.0, 7.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def on_slow_device(
    clock: Clock, digits: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str
) -> tuple[Trainer, Noted]:
    """A trainer whose steps, evaluations and savings take these seconds, and nothing else any."""
    device = SlowDevice(clock)
    recipe = digits_recipe(digits, folder, "schedule.learning_rate.warmup=0", "schedule.epsilon_ramp=0", *overrides)
    trainer, noted = digits_trainer(recipe, Processes(0, 1, torch.device("cpu")))

    def step(engine: Engine, plan: StepPlan, *_: object) -> StepResult:
        device.work(WORK)
        clock.now += GIVING_OUT
        return StepResult(
            plan, tuple(device.holding(1.0) for _ in plan.slots), device.holding(8), device.holding(1.0), clock()
        )

    def evaluated(*_: object) -> Accuracy:
        device.work(EVALUATION)
        device.wait()
        return Accuracy(50.0, 90.0, 1.0, 359)

    def saved() -> TrainingState:
        device.wait()
        clock.now += SAVING
        return state

    state = trainer.engine.full_state()
    engine, evaluator, whole = trainer.engine, trainer.figures.evaluator, trainer.engine.supernet
    for place, name, function in (
        (trainer_module, "sandwich_step", step),
        (evaluator, "full_model", evaluated),
        (evaluator, "subnet", evaluated),
        (engine, "full_state", saved),
        (engine, "whole_supernet", lambda: whole),
    ):
        monkeypatch.setattr(place, name, function)
    return trainer, noted


def split(metrics: dict[str, float]) -> dict[str, float]:
    prefix = "cost/split/"
    return {name.removeprefix(prefix): round(3600 * hours, 6) for name, hours in metrics.items() if prefix in name}


def test_the_device_s_work_is_booked_on_its_phase_and_told_in_images_per_second(
    clock: Clock, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["schedule.duration=6 steps", "schedule.full_model_warmup=0", "schedule.reorganise=false"]
    asked += ["log_every=2 steps", "evaluation.every=2 steps", "evaluation.full_when_shrinking=0"]
    trainer, noted = on_slow_device(clock, digits, tmp_path, monkeypatch, *asked, "checkpoint.every=4 steps")
    trainer.train()
    assert {step: metrics["speed/images_per_second"] for step, metrics in noted.rows.items()} == {
        step: pytest.approx(16 / WORK) for step in (2, 4, 6)
    }
    last: Any = trainer.figures.ledger.record().metrics()
    assert split(last) == {
        "data_wait": 0,
        "supernet": 6 * WORK,
        "evaluation": 3 * 2 * EVALUATION,
        "checkpoint": 2 * SAVING,
        "idle": 0,
    }


def test_work_that_is_under_way_when_channels_are_sorted_is_of_the_phase_before(
    clock: Clock, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ["schedule.duration=6 steps", "schedule.full_model_warmup=3 steps", "log_every=5 steps"]
    trainer, noted = on_slow_device(
        clock, digits, tmp_path, monkeypatch, *asked, "evaluation.full_when_shrinking=0", "evaluation.every=0"
    )
    trainer.train()
    assert split(noted.rows[5])["full_model"] == 3 * WORK
    assert split(noted.rows[5])["supernet"] == SAVING + 2 * WORK
