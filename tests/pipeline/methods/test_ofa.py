"""Progressive shrinking: its phases, what each draws from, what it does on being entered, what makes no sense."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.methods.entries import Entry, LoadWeights, Reorganise, freeze_teacher
from pipeline.methods.losses import LabelCrossEntropy, LossConfig, SoftCrossEntropy, WeightedSum
from pipeline.methods.ofa import OfaConfig
from pipeline.methods.phases import ScheduleError
from pipeline.methods.schedule import Schedule
from pipeline.supernet.networks import NETWORKS, named
from pipeline.supernet.reorganise import channel_groups, channel_orders
from pipeline.supernet.space import Space
from tests.pipeline.methods.tables import table
from tests.pipeline.supernet.test_supernet import lively

DEEP = named("mobilenet_v3_digits", depths=(1, 2, 3)).space()
PER_EPOCH = 10
EPOCHS = 605


def ofa(space: Space = DEEP, epochs: int = EPOCHS, start: tuple[Entry, ...] = (), **settings: object) -> Schedule:
    config = OfaConfig.model_validate({"duration": f"{epochs} epochs", "learning_rate": {"base": 2.6}, **settings})
    return Schedule(config, space, PER_EPOCH, seed=0, start=start)


def test_its_phases_are_the_published_ones() -> None:
    assert table(ofa(learning_rate={"base": 2.6, "decay": "cosine_after_warmup", "warmup_from": 1 / 32})) == [
        "teacher | 0-1800 | 1 full | 2.6 to 1.98e-06",
        "kernel | 1800-3050 | 1 random | 0.0486 to 1.645e-06 | freeze_teacher, forget_momentum",
        "depth 1 | 3050-3300 | 2 random | 0.08 to 3.158e-06 | forget_momentum",
        "depth 2 | 3300-4550 | 2 random | 0.01215 to 4.112e-07 | forget_momentum",
        "expand 1 | 4550-4800 | 4 random | 0.08 to 3.158e-06 | forget_momentum, Reorganise",
        "expand 2 | 4800-6050 | 4 random | 0.01215 to 4.112e-07 | forget_momentum, Reorganise",
    ]


def test_a_phases_rate_warms_up_and_decays_within_it() -> None:
    """η₀ + (i + 1)/W · (η₁ − η₀) over five epochs, with η₀ = η₁ / GPUs; then ½ η₁ (1 + cos(π t / 120 epochs))."""
    schedule = ofa(learning_rate={"base": 2.6, "decay": "cosine_after_warmup", "warmup_from": 1 / 32})
    peak = 0.03 * 32
    for step in (0, 20, 49):
        rise = peak / 32 + (step + 1) / 50 * (peak - peak / 32)
        assert schedule.at(1800 + step).learning_rate == pytest.approx(rise, rel=1e-12)
    for step in (50, 700, 1249):
        cosine = peak / 2 * (1 + math.cos(math.pi * (step - 50) / 1200))
        assert schedule.at(1800 + step).learning_rate == pytest.approx(cosine, rel=1e-12)


def test_each_phase_widens_what_subnets_are_drawn_from() -> None:
    """Seen: all that it opens, and nothing else."""
    schedule = ofa()
    for name, kernels, depths, expands in (
        ("kernel", {3, 5}, {3}, {6}),
        ("depth 1", {3, 5}, {2, 3}, {6}),
        ("depth 2", {3, 5}, {1, 2, 3}, {6}),
        ("expand 1", {3, 5}, {1, 2, 3}, {4, 6}),
        ("expand 2", {3, 5}, {1, 2, 3}, {3, 4, 6}),
    ):
        phase = next(phase for phase in schedule.phases if phase.name == name)
        plans = map(schedule.at, range(phase.start, phase.start + 60))
        subnets = [slot.subnet for plan in plans for slot in plan.slots]
        stages = [stage for subnet in subnets for stage in subnet.stages]
        blocks = [block for stage in stages for block in stage.blocks]
        assert {len(stage.blocks) for stage in stages} == depths
        assert ({block.kernel for block in blocks}, {block.expand for block in blocks}) == (kernels, expands)
        assert len(set(subnets)) > 5


@pytest.mark.parametrize("network", ["mobilenet_v3", "proxyless", "resnet50", "attentive_nas"])
def test_on_every_network_the_last_phase_draws_of_all_and_every_draw_is_of_the_space(network: str) -> None:
    space = NETWORKS[f"{network}_digits"]
    schedule = ofa(space)
    widths = any(dimension.what in ("width", "stem", "head") for dimension in space.dimensions())
    assert schedule.phases[0].name == "teacher"
    assert ("width 1" in [phase.name for phase in schedule.phases]) == widths
    for phase in schedule.phases:
        for step in range(phase.start, min(phase.start + 10, phase.end)):
            for slot in schedule.at(step).slots:
                space.validate(slot.subnet)
    last = schedule.phases[-1]
    drawn = [slot.subnet for step in range(last.start, last.end) for slot in schedule.at(step).slots]
    for dimension in space.dimensions():
        if dimension.what != "resolution" or space.loaded:
            assert {value for subnet in drawn if (value := dimension.of(subnet)) is not None} == {*dimension.choices}


def test_subnets_learn_from_labels_and_from_the_frozen_teacher() -> None:
    taught = WeightedSum(((1.0, LabelCrossEntropy(0.1)), (1.0, SoftCrossEntropy("teacher", 1.0))))
    assert ofa().at(0).slots[0].loss == LabelCrossEntropy(0.1)
    assert {slot.loss for slot in ofa().at(5000).slots} == {taught}
    assert taught.needs_teacher
    half = ofa(kd_ratio=0.5).at(5000).slots[0].loss
    assert isinstance(half, WeightedSum)
    assert [factor for factor, _ in half.terms] == [1.0, 0.5]


def test_without_soft_labels_there_is_no_teacher_to_freeze() -> None:
    schedule = ofa(kd_ratio=0, progression=["kernel", "depth 2"])
    assert not any(freeze_teacher in phase.enter for phase in schedule.phases)
    assert schedule.at(0).slots[0].loss == LossConfig().of_labels()


@pytest.mark.parametrize("network", ["mobilenet_v3", "proxyless", "resnet50", "attentive_nas"])
def test_all_channels_are_sorted_first_then_those_between_what_is_trained(network: str) -> None:
    space = NETWORKS[f"{network}_digits"]
    schedule = ofa(space)
    weights = lively(space).state_dict()
    first, second = (
        entry
        for phase in schedule.phases
        if phase.name.startswith("expand")
        for entry in phase.enter
        if isinstance(entry, Reorganise)
    )

    def orders(entry: Reorganise) -> list[tuple[str, int, list[int]]]:
        found = channel_orders(weights, channel_groups(space, entry.trained))
        return [(each.tensor, each.axis, each.order.tolist()) for each in found]

    assert orders(first) == orders(Reorganise(space)), "the largest ratio alone is trained: one full sort"
    assert orders(second) != orders(Reorganise(space))
    assert second.trained is not None
    ratios = {stage.expands for stage in second.trained.stages}
    assert ratios == {stage.expands[-2:] for stage in space.stages}


def test_phases_may_be_left_out_reordered_and_set() -> None:
    progression = ["teacher", {"phase": "expand 2", "duration": "30%", "subnets": 3}, {"phase": "depth 2"}]
    assert table(ofa(epochs=100, progression=progression)) == [
        "teacher | 0-413 | 1 full | 2.6 to 3.761e-05",
        "expand 2 | 413-713 | 3 random | 0.02 to 6.58e-06 | freeze_teacher, forget_momentum, Reorganise",
        "depth 2 | 713-1000 | 2 random | 0.02182 to 7.189e-06 | forget_momentum",
    ]
    given = [{"phase": "teacher", "duration": "40 epochs", "warmup": "2 epochs"}]
    given += [{"phase": "kernel", "duration": "60 epochs", "learning_rate": 0.5, "warmup": 0}]
    assert table(ofa(epochs=100, progression=given)) == [
        "teacher | 0-400 | 1 full | 0.13 to 4.01e-05",
        "kernel | 400-1000 | 1 random | 0.5 to 3.427e-06 | freeze_teacher, forget_momentum",
    ]


@pytest.mark.parametrize(
    ("progression", "complaint"),
    [
        (["kernel", "depth 1"], "'kernel' has no teacher; begin with 'teacher', name weights in model.start"),
        (["teacher", "shrink"], "'shrink' is none of teacher, kernel, depth 1"),
        (["teacher", "kernel", "kernel"], "'kernel' comes twice"),
        (["kernel", "teacher"], "'teacher' comes first, not after 'kernel'"),
        (["teacher", "depth 2", "depth 1"], "'depth 1' opens no choice that is not open before it"),
        (["teacher", "width 1"], "'width 1' opens no choice"),
        ([{"phase": "teacher", "duration": "3 epochs"}], "its durations are 30 steps, the whole run has 6050"),
        ([{"phase": "teacher", "duration": "700 epochs"}, "kernel"], "are 7000 steps, the whole run has 6050"),
        ([{"phase": "teacher", "duration": "100%"}, "kernel"], "'kernel' lasts no step; leave it out"),
    ],
)
def test_what_makes_no_sense_is_refused(progression: list, complaint: str) -> None:
    with pytest.raises(ScheduleError, match=complaint):
        ofa(progression=progression)


def test_with_weights_the_teacher_is_there_already() -> None:
    start = (LoadWeights(Path("runs/teacher")),)
    names = [phase.name for phase in ofa(start=start).phases]
    assert names == ["kernel", "depth 1", "depth 2", "expand 1", "expand 2"]
    entries = ofa(start=start).phases[0].enter
    assert [getattr(entry, "__name__", type(entry).__name__) for entry in entries] == [
        "LoadWeights",
        "freeze_teacher",
        "forget_momentum",
    ]


def test_a_narrowed_space_keeps_the_full_model_and_says_all_that_the_whole_one_says() -> None:
    for network in ("mobilenet_v3", "proxyless", "resnet50", "attentive_nas"):
        space = NETWORKS[f"{network}_digits"]
        narrow = space.narrowed(widths=1, depths=1, kernels=1, expands=1)
        assert narrow.largest() == space.largest()
        assert space.is_full(replace(narrow.smallest(), resolution=space.resolution))
        generator = torch.Generator().manual_seed(0)
        for _ in range(20):
            subnet = space.narrowed(widths=2, expands=2).sample(generator)
            assert space.parse(str(space.validate(subnet))) == subnet
