"""The DεpS schedule: phases, ε in closed form, the subnets of each step; every ablation a value."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.duration import to_steps
from pipeline.methods.deps import DepsConfig
from pipeline.methods.entries import Reorganise
from pipeline.methods.learning_rate import LearningRateConfig, learning_rate
from pipeline.methods.losses import LabelCrossEntropy, SoftCrossEntropy
from pipeline.methods.phases import ScheduleError
from pipeline.methods.schedule import Schedule
from pipeline.supernet.networks import NETWORKS

SPACE = NETWORKS["mobilenet_v3_digits"]
PER_EPOCH = 50
TOTAL = 10 * PER_EPOCH
SHRUNK = 5 * PER_EPOCH  # T_fw
RAMP = 2 * PER_EPOCH  # w
START = SHRUNK - RAMP

COSINE = LearningRateConfig(base=0.4)
EXPONENTIAL = LearningRateConfig(base=0.4, decay="exponential", decay_rate=0.9, decay_every="1 epochs", floor=0.05)


def cosine(step: float) -> float:
    return 0.4 * 0.5 * (1 + math.cos(math.pi * step / TOTAL))


def exponential(step: float) -> float:
    return 0.4 * max(0.9 ** (step / PER_EPOCH), 0.05)


def deps(**changes: object) -> DepsConfig:
    config = {
        "duration": "10 epochs",
        "full_model_warmup": "50%",
        "epsilon_ramp": "2 epochs",
        "learning_rate": COSINE,
        **changes,
    }
    return DepsConfig.model_validate(config)


def schedule(seed: int = 0, **changes: object) -> Schedule:
    return Schedule(deps(**changes), SPACE, PER_EPOCH, seed)


def test_the_phases_meet_at_t_fw_minus_w_and_t_fw() -> None:
    phases = [(phase.name, phase.start, phase.end) for phase in schedule().phases]
    assert phases == [("full model", 0, START), ("ramp", START, SHRUNK), ("supernet", SHRUNK, TOTAL)]


@pytest.mark.parametrize(("config", "rate"), [(COSINE, cosine), (EXPONENTIAL, exponential)], ids=["cosine", "exp"])
@pytest.mark.parametrize("step", [START, START + RAMP // 2, SHRUNK - 1], ids=["start", "middle", "end"])
def test_epsilon_times_the_rate_rises_linearly_to_the_rate_at_t_fw(
    config: LearningRateConfig, rate: Callable[[float], float], step: int
) -> None:
    plan = schedule(learning_rate=config).at(step)
    assert plan.learning_rate == pytest.approx(rate(step), rel=1e-12)
    assert plan.epsilon == pytest.approx(rate(SHRUNK) * (step - START + 1) / RAMP / rate(step), rel=1e-12)


def test_epsilon_is_zero_before_the_ramp_small_at_its_start_and_one_after_it() -> None:
    run = schedule()
    assert run.at(START - 1).epsilon == 0
    assert 0 < run.at(START).epsilon < 1 / RAMP
    assert 0.95 < run.at(SHRUNK - 1).epsilon <= 1
    assert run.at(SHRUNK).epsilon == run.at(TOTAL - 1).epsilon == 1


def test_the_full_model_trains_alone_then_the_sandwich() -> None:
    run = schedule()
    assert [slot.name for slot in run.at(0).slots] == ["full"]
    for step in (START, SHRUNK, TOTAL - 1):
        plan = run.at(step)
        assert [slot.name for slot in plan.slots] == ["full", "smallest", "random", "random"]
        assert plan.slots[0].subnet == SPACE.largest()
        assert plan.slots[1].subnet == SPACE.smallest()
        assert [slot.scale for slot in plan.slots] == [1.0, *[plan.epsilon] * 3]
        assert [slot.loss for slot in plan.slots] == [LabelCrossEntropy(0.1), *[SoftCrossEntropy("full", 1.0)] * 3]


def test_random_subnets_depend_on_seed_step_and_slot_alone() -> None:
    """Hence they are the same on all ranks, and after a resume: a new schedule asked for one step only agrees."""
    plan = schedule().at(SHRUNK + 7)
    assert plan == schedule().at(SHRUNK + 7)
    subnets = [slot.subnet for slot in plan.slots]
    assert subnets[2] != subnets[3]
    assert subnets != [slot.subnet for slot in schedule(seed=1).at(SHRUNK + 7).slots]
    assert subnets != [slot.subnet for slot in schedule().at(SHRUNK + 8).slots]
    seen = {slot.subnet for step in range(SHRUNK, TOTAL) for slot in schedule().at(step).slots[2:]}
    assert len(seen) > 100


def test_each_step_draws_the_resolution_of_its_whole_batch() -> None:
    """Of (seed, step) alone, in all phases: the same on all ranks, and after a resume."""
    space = replace(SPACE, resolutions=(24, 32, 40))
    run = Schedule(deps(), space, PER_EPOCH, seed=0)
    drawn = [run.at(step).resolution for step in range(TOTAL)]
    assert drawn == [Schedule(deps(), space, PER_EPOCH, seed=0).resolution(step) for step in range(TOTAL)]
    assert drawn != [Schedule(deps(), space, PER_EPOCH, seed=1).resolution(step) for step in range(TOTAL)]
    for phase in run.phases:
        counts = Counter(drawn[phase.start : phase.end])
        assert set(counts) == set(space.resolutions)
        assert min(counts.values()) > (phase.end - phase.start) / 6
    for step in (0, SHRUNK):
        plan = run.at(step)
        assert {slot.subnet.resolution for slot in plan.slots} == {plan.resolution}


def test_one_resolution_is_that_of_every_step() -> None:
    assert {schedule().at(step).resolution for step in range(TOTAL)} == {32}


def test_channels_are_sorted_from_the_first_supernet_step_on() -> None:
    run = schedule()
    assert [len(run.entries(step)) for step in (START - 1, START, TOTAL - 1)] == [0, 1, 1]
    assert run.phase(START).enter == (Reorganise(SPACE),)
    assert not schedule(reorganise=False).entries(START)


def test_without_a_ramp_epsilon_jumps_to_one() -> None:
    run = schedule(epsilon_ramp=0)
    assert [phase.name for phase in run.phases] == ["full model", "supernet"]
    assert (run.at(SHRUNK - 1).epsilon, run.at(SHRUNK).epsilon) == (0, 1)


def test_without_warmup_the_sandwich_starts_at_once() -> None:
    run = schedule(full_model_warmup=0, epsilon_ramp=0)
    assert [(phase.name, phase.start) for phase in run.phases] == [("supernet", 0)]


def test_without_distillation_subnets_learn_from_labels() -> None:
    plan = schedule(distillation="off").at(SHRUNK)
    assert {slot.loss for slot in plan.slots} == {LabelCrossEntropy(0.1)}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"full_model_warmup": "11 epochs"}, "full_model_warmup: '11 epochs' is 550 steps, the whole run has 500"),
        (
            {"epsilon_ramp": "6 epochs"},
            "epsilon_ramp: '6 epochs' is 300 steps, and does not fit before the end of full_model_warmup",
        ),
        ({"duration": "50%"}, "duration: '50%': a run's own duration"),
        ({"duration": "0 epochs"}, "is not even one step"),
        ({"epsilon_ramp": "0.001 epochs"}, "epsilon_ramp: '0.001 epochs': is less than one step"),
        ({"full_model_warmup": "100%"}, "ends where the learning rate is zero"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict, complaint: str) -> None:
    with pytest.raises(ScheduleError, match=complaint):
        schedule(**changes)


@pytest.mark.parametrize(
    ("text", "steps"), [("3 epochs", 150), ("1 epoch", 50), ("2.5 epochs", 125), ("70 steps", 70), ("25%", 125)]
)
def test_durations_become_steps(text: str, steps: int) -> None:
    assert to_steps(text, PER_EPOCH, TOTAL) == steps


def test_the_learning_rate_warms_up_linearly_and_ends_at_zero_or_the_floor() -> None:
    warm = learning_rate(LearningRateConfig(base=0.4, warmup="1 epochs"), PER_EPOCH, TOTAL)
    assert warm(0) == pytest.approx(cosine(0) / PER_EPOCH)
    assert warm(24) == pytest.approx(cosine(24) / 2)
    assert warm(PER_EPOCH) == pytest.approx(cosine(PER_EPOCH))
    assert warm(TOTAL) == pytest.approx(0, abs=1e-12)
    long = learning_rate(EXPONENTIAL, PER_EPOCH, 100 * PER_EPOCH)
    assert long(99 * PER_EPOCH) == pytest.approx(0.05 * 0.4)
    assert learning_rate(LearningRateConfig(base=0.4, decay="constant"), PER_EPOCH, TOTAL)(TOTAL - 1) == 0.4
