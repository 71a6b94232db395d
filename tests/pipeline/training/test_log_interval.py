"""What a log line tells of the steps since the last one, of a device that does its work later than it is given out."""

from pathlib import Path

import pytest
import torch

from pipeline.errors import RunFailure
from pipeline.methods.deps import DepsConfig
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.phases import StepPlan
from pipeline.methods.schedule import Schedule
from pipeline.processes.group import Processes
from pipeline.supernet.networks import NETWORKS
from pipeline.tracking.ledger import IDLE, Ledger
from pipeline.training.log_interval import LogInterval
from pipeline.training.sandwich import StepResult
from tests.support.slow_device import Clock, SlowDevice

SPACE = NETWORKS["mobilenet_v3_digits"]
CONFIG = DepsConfig(
    duration="8 steps",
    full_model_warmup="4 steps",
    epsilon_ramp="2 steps",
    learning_rate=LearningRateConfig(base=0.1),
)
PLANS = [Schedule(CONFIG, SPACE, steps_per_epoch=8, seed=0).at(step) for step in range(8)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def device(clock: Clock) -> SlowDevice:
    return SlowDevice(clock)


@pytest.fixture
def ledger(clock: Clock, tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.json", 1, "GPU hours", None, held_since=clock())


@pytest.fixture
def interval(ledger: Ledger) -> LogInterval:
    return LogInterval(Processes(0, 1, torch.device("cpu")), batch_size=4, ledger=ledger)


def result(plan: StepPlan, device: SlowDevice, loss: float = 1.0, norm: float = 1.0, right: int = 2) -> StepResult:
    losses = tuple(device.holding(loss) for _ in plan.slots)
    full = any(slot.name == "full" for slot in plan.slots)
    return StepResult(plan, losses, device.holding(right) if full else None, device.holding(norm), worked_until=0.0)


def seconds(ledger: Ledger) -> dict[str, float]:
    return {category: round(3600 * hours, 6) for category, hours in ledger.record().hours_by_category().items()}


def test_the_wait_for_the_device_is_time_of_the_phase_whose_steps_it_does(
    interval: LogInterval, device: SlowDevice, clock: Clock, ledger: Ledger
) -> None:
    for plan, work in zip(PLANS[:4], (10.0, 10.0, 30.0, 30.0), strict=True):  # two of the full model, two of the ramp
        began = clock()
        with ledger.charge(plan.phase):
            device.work(work)
            clock.now += 1  # giving out the work
        interval.add(plan, result(plan, device), began, waited=0.0)
    interval.read()
    assert clock() == 1000 + 80
    # The host gave out the ramp's work while the device was still at the full model's: 2 seconds of each are known so.
    assert seconds(ledger) == {"full model": 18, "ramp": 62, IDLE: 0}


def test_images_per_second_are_told_between_two_readings_and_not_by_how_fast_work_is_given_out(
    interval: LogInterval, device: SlowDevice, clock: Clock
) -> None:
    for plan in PLANS[:4]:
        began = clock()
        clock.now += 1  # waiting for data
        device.work(7.0)
        clock.now += 0.5
        interval.add(plan, result(plan, device), began, waited=1.0)
    figures = interval.read()
    held = 1 + 4 * 7
    assert figures["speed/images_per_second"] == pytest.approx(4 * 4 / held)
    assert figures["data/wait_fraction"] == pytest.approx(4 / held)
    clock.now += 100  # evaluating, or saving
    began = clock()
    device.work(2.0)
    interval.add(PLANS[4], result(PLANS[4], device), began, waited=0.0)
    assert interval.read()["speed/images_per_second"] == pytest.approx(4 / 2)


def test_waiting_before_the_line_is_due_changes_no_figure(
    interval: LogInterval, device: SlowDevice, clock: Clock
) -> None:
    figures = []
    for early in (False, True):
        for number, plan in enumerate(PLANS[:4]):
            began = clock()
            device.work(3.0)
            interval.add(plan, result(plan, device, loss=number + 1.0, right=number), began, waited=0.0)
            if early and number == 1:
                interval.wait()
        figures.append(interval.read())
    assert figures[0] == figures[1]
    assert figures[0]["loss/full"] == 2.5
    assert figures[0]["acc/train"] == 100 * (0 + 1 + 2 + 3) / 16
    assert interval.empty
    assert interval.read() == {}


def test_the_accuracy_in_training_is_over_the_steps_that_train_the_full_model(
    interval: LogInterval, device: SlowDevice
) -> None:
    for number, plan in enumerate(PLANS[4:6]):
        slots = plan.slots[1:] if number else plan.slots
        without = StepPlan(plan.step, plan.phase, 0.1, plan.resolution, slots)
        device.work(1.0)
        interval.add(without, result(without, device, right=3), 0.0, 0.0)
    assert interval.read()["acc/train"] == 75


def test_there_is_no_accuracy_in_training_where_no_step_trains_the_full_model(
    interval: LogInterval, device: SlowDevice
) -> None:
    for plan in PLANS[4:6]:
        without = StepPlan(plan.step, plan.phase, 0.1, plan.resolution, plan.slots[1:])
        device.work(1.0)
        interval.add(without, result(without, device), 0.0, 0.0)
    figures = interval.read()
    assert "acc/train" not in figures
    assert "loss/full" not in figures
    assert figures["loss/smallest"] == 1.0


def test_a_loss_that_is_not_finite_names_step_phase_and_subnet(interval: LogInterval, device: SlowDevice) -> None:
    plan = PLANS[2]
    losses = tuple(device.holding(loss) for loss in (1.0, 2.0, float("nan"), 1.0))
    interval.add(plan, StepResult(plan, losses, device.holding(2), device.holding(1.0), 0.0), 0.0, 0.0)
    with pytest.raises(RunFailure, match=rf"loss is nan at step 2 \(ramp\), random subnet {plan.slots[2].subnet}"):
        interval.read()
    assert interval.empty


def test_a_gradient_that_is_not_finite_is_refused_though_the_loss_before_it_was(
    interval: LogInterval, device: SlowDevice
) -> None:
    for norm in (float("inf"), 1.0):
        interval.add(PLANS[2], result(PLANS[2], device, norm=norm), 0.0, 0.0)
    with pytest.raises(RunFailure, match=r"gradient norm is inf at step 2 \(ramp\)"):
        interval.read()
