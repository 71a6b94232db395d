"""Methods of one phase: BigNAS, AlphaNet, one network alone."""

import math
from pathlib import Path

import pytest
import torch

from pipeline.engines.protocol import TrainingState
from pipeline.methods.alpha_net import AlphaNetConfig
from pipeline.methods.bignas import BigNasConfig
from pipeline.methods.entries import LoadWeights, StartAsShortcuts, forget_momentum, freeze_teacher
from pipeline.methods.learning_rate import LearningRateConfig, learning_rate
from pipeline.methods.losses import (
    AlphaDivergence,
    AlphaDivergenceConfig,
    LabelCrossEntropy,
    LossConfig,
    SoftCrossEntropy,
    SoftCrossEntropyConfig,
    WeightedSum,
)
from pipeline.methods.phases import ScheduleError
from pipeline.methods.schedule import Schedule
from pipeline.methods.single import SingleConfig
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.store import save_supernet
from pipeline.supernet.supernet import Supernet
from tests.pipeline.methods.tables import table
from tests.pipeline.supernet.test_supernet import images, lively

SPACE = NETWORKS["mobilenet_v3_digits"]
RATE = LearningRateConfig(base=0.4)


def test_bignas_is_the_sandwich_from_the_first_step_at_a_rate_that_ends_constant() -> None:
    rate = LearningRateConfig(base=0.4, decay="exponential", decay_rate=0.5, decay_every="10 steps", floor=0.05)
    schedule = Schedule(BigNasConfig(duration="2 epochs", learning_rate=rate), SPACE, 50, seed=0)
    assert table(schedule) == ["supernet | 0-100 | 1 full + 1 smallest + 2 random | 0.4 to 0.02 | StartAsShortcuts"]
    slots = schedule.at(7).slots
    assert (slots[0].subnet, slots[1].subnet) == (SPACE.largest(), SPACE.smallest())
    assert [slot.loss for slot in slots] == [LabelCrossEntropy(0.1), *[SoftCrossEntropy("full", 1.0)] * 3]
    assert [slot.scale for slot in slots] == [1.0] * 4
    plain = BigNasConfig(duration="2 epochs", learning_rate=rate, start_as_shortcuts=False)
    assert not Schedule(plain, SPACE, 50, seed=0).entries(99)


def test_alpha_net_trains_the_smallest_last_and_by_the_alpha_divergence() -> None:
    warm = LearningRateConfig(base=0.4, warmup="10 steps")
    config = AlphaNetConfig(duration="2 epochs", learning_rate=warm)
    schedule = Schedule(config, SPACE, 50, seed=0)
    assert table(schedule) == ["supernet | 0-100 | 1 full + 2 random + 1 smallest | 0.04 to 9.869e-05"]
    slots = schedule.at(7).slots
    assert (slots[0].subnet, slots[3].subnet) == (SPACE.largest(), SPACE.smallest())
    assert {slot.loss for slot in slots[1:]} == {AlphaDivergence("full", 1.0, (-1.0, 1.0), 5.0)}
    other = Schedule(config, SPACE, 50, seed=0, loss=LossConfig(soft=SoftCrossEntropyConfig(), temperature=2))
    assert {slot.loss for slot in other.at(7).slots[1:]} == {SoftCrossEntropy("full", 2.0)}


def test_any_method_may_learn_by_the_alpha_divergence() -> None:
    loss = LossConfig(soft=AlphaDivergenceConfig(alphas=(0, 2), clip=3))
    schedule = Schedule(BigNasConfig(duration="2 epochs", learning_rate=RATE), SPACE, 50, seed=0, loss=loss)
    assert {slot.loss for slot in schedule.at(7).slots[1:]} == {AlphaDivergence("full", 1.0, (0.0, 2.0), 3.0)}


def test_warm_up_multiplies_the_cosine_or_comes_before_it_and_may_begin_above_zero() -> None:
    def rates(**settings: object) -> list[float]:
        config = LearningRateConfig.model_validate({"base": 0.8, "warmup": "5 steps", **settings})
        rate = learning_rate(config, steps_per_epoch=10, total=25)
        return [rate(step) for step in (0, 3, 4, 5, 15, 24)]

    cosine = [0.5 * (1 + math.cos(math.pi * step / 25)) for step in (0, 3, 4, 5, 15, 24)]
    behind = [1, 1, 1, *(0.5 * (1 + math.cos(math.pi * step / 20)) for step in (0, 10, 19))]
    rise, raised = [0.2, 0.8, 1, 1, 1, 1], [0.25 + 0.75 * part for part in (0.2, 0.8, 1, 1, 1, 1)]
    for settings, factors, decay in (
        ({}, rise, cosine),
        ({"warmup_from": 0.25}, raised, cosine),
        ({"warmup_from": 0.25, "decay": "cosine_after_warmup"}, raised, behind),
    ):
        assert rates(**settings) == pytest.approx([0.8 * a * b for a, b in zip(factors, decay, strict=True)])


def single(**settings: object) -> SingleConfig:
    return SingleConfig.model_validate({"duration": "2 epochs", "learning_rate": RATE, **settings})


def test_one_network_alone_learns_from_labels() -> None:
    schedule = Schedule(single(), SPACE, 50, seed=0)
    assert table(schedule) == ["training | 0-100 | 1 full | 0.4 to 9.869e-05"]
    assert {schedule.at(step).slots[0].subnet for step in range(100)} == {SPACE.largest()}
    small = Schedule(single(subnet="d2.1-k3-e4-r32"), SPACE, 50, seed=0)
    assert table(small) == ["training | 0-100 | 1 subnet | 0.4 to 9.869e-05"]
    assert {small.at(step).slots[0] for step in range(100)} == {small.at(0).slots[0]}
    assert str(small.at(0).slots[0].subnet) == "d2.1-k3-e4-r32"
    assert small.at(0).slots[0].loss == LabelCrossEntropy(0.1)
    with pytest.raises(ScheduleError, match=r"schedule.subnet: stage 1: depth 5 is none of \[1, 2\]"):
        Schedule(single(subnet="d5-k3-e4-r32"), SPACE, 50, seed=0)


def test_one_network_alone_may_also_learn_from_the_full_model_that_the_run_begins_with(tmp_path: Path) -> None:
    taught, start = single(subnet="d2.1-k3-e4-r32", kd_ratio=0.5), (LoadWeights(tmp_path),)
    schedule = Schedule(taught, SPACE, 50, seed=0, start=start)
    assert schedule.phases[0].enter == (*start, freeze_teacher), "the teacher is what was loaded"
    loss = schedule.at(0).slots[0].loss
    assert loss == WeightedSum(((1.0, LabelCrossEntropy(0.1)), (0.5, SoftCrossEntropy("teacher", 1.0))))
    assert Schedule(taught, SPACE, 50, 0, LossConfig(soft=AlphaDivergenceConfig()), start).at(0).slots[0].loss != loss
    with pytest.raises(ScheduleError, match=r"schedule.kd_ratio: the teacher is the full model that the run begins"):
        Schedule(taught, SPACE, 50, seed=0)


def test_one_subnet_alone_is_what_its_run_is_measured_by() -> None:
    ends = {"full": SPACE.largest(), "smallest": SPACE.smallest()}
    assert Schedule(single(), SPACE, 50, seed=0).measured == ends
    assert Schedule(single(subnet=str(SPACE.largest())), SPACE, 50, seed=0).measured == ends
    small = SPACE.parse("d2.1-k3-e4-r32")
    assert Schedule(single(subnet=str(small)), SPACE, 50, seed=0).measured == {"subnet": small}


def test_weights_to_begin_with_are_loaded_before_all_else(tmp_path: Path) -> None:
    trained, start = lively(SPACE, seed=3), (LoadWeights(tmp_path),)
    save_supernet(tmp_path, SPACE, trained.state_dict())
    schedule = Schedule(single(), SPACE, 50, seed=0, start=start)
    assert schedule.phases[0].enter == start
    state = state_of(lively(SPACE))
    for entry in schedule.phases[0].enter:
        state = entry(state)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(state.weights[name], tensor), name
    overwriting = BigNasConfig(duration="2 epochs", learning_rate=RATE)
    with pytest.raises(ScheduleError, match=r"would set weights of model.start to zero"):
        Schedule(overwriting, SPACE, 50, 0, start=start)
    keeping = overwriting.model_copy(update={"start_as_shortcuts": False})
    assert Schedule(keeping, SPACE, 50, 0, start=start).phases[0].enter == start


def state_of(supernet: Supernet) -> TrainingState:
    momentum = {name: torch.ones_like(parameter) for name, parameter in supernet.named_parameters()}
    return TrainingState(supernet.state_dict(), momentum)


def test_momentum_is_forgotten_and_nothing_else() -> None:
    before = state_of(lively(SPACE))
    after = forget_momentum(before)
    assert after.weights is before.weights
    assert after.momentum.keys() == before.momentum.keys()
    assert not any(tensor.any() for tensor in after.momentum.values())


@pytest.mark.parametrize(
    "network", ["mobilenet_v3_digits", "proxyless_digits", "resnet50_digits", "attentive_nas_digits"]
)
def test_blocks_that_begin_as_shortcuts_add_nothing_to_them_and_the_others_stay(network: str) -> None:
    space = NETWORKS[network]
    supernet = lively(space)
    before = state_of(supernet)
    after = StartAsShortcuts(space)(before)
    changed = {name for name, tensor in after.weights.items() if not torch.equal(tensor, before.weights[name])}
    assert changed
    assert all(name.endswith("bn.weight") and not after.weights[name].any() for name in changed)
    supernet.load_state_dict(after.weights)
    for block in supernet.blocks:  # the biases, which start at zero in a run
        for name, bias in block.named_parameters():
            if name.endswith("_bn.bias"):
                bias.data.zero_()
    seen = []
    for name, module in supernet.named_modules():
        if f"{name}.weight" in changed:
            module.register_forward_hook(lambda _, __, out: seen.append(out))
    supernet.kernels = "reference"
    with torch.no_grad():
        logits = supernet(images(side=space.image_side(space.largest())), space.largest())
    assert len(seen) == len(changed)
    assert not any(out.any() for out in seen)
    assert logits.std() > 1e-3, "the signal goes through blocks without a shortcut"
