"""CompOFA: few subnets of paired depths and expand ratios, in two phases, sorted once."""

from pathlib import Path

import pytest

from pipeline.methods.compofa import CompOfaConfig, compound_space
from pipeline.methods.entries import Entry, LoadWeights, Reorganise
from pipeline.methods.phases import ScheduleError
from pipeline.methods.schedule import Schedule
from pipeline.supernet.complexity import complexity
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.space import Space
from tests.pipeline.methods.tables import table

SPACE = NETWORKS["mobilenet_v3"]
KERNELS = (3, 5, 3, 3, 5)


def compofa(space: Space = SPACE, start: tuple[Entry, ...] = (), **settings: object) -> Schedule:
    content = {"duration": "330 epochs", "learning_rate": {"base": 2.6}, "kernels": KERNELS, **settings}
    return Schedule(CompOfaConfig.model_validate(content), space, steps_per_epoch=10, seed=0, start=start)


def test_its_phases_are_the_published_ones_but_for_the_second_sort() -> None:
    assert table(compofa()) == [
        "teacher | 0-1800 | 1 full | 2.6 to 1.98e-06",
        "compound 1 | 1800-2050 | 4 random | 0.08 to 3.158e-06 | freeze_teacher, forget_momentum, Reorganise",
        "compound 2 | 2050-3300 | 4 random | 0.0048 to 3.79e-07 | forget_momentum",
    ]
    assert compofa(sort_again=True).phases[2].enter[-1] == Reorganise(SPACE)
    assert len(compofa(reorganise=False).phases[1].enter) == 2


def test_both_phases_draw_of_the_same_243_subnets() -> None:
    """Depths 2, 3, 4 with ratios 3, 4, 6, stage by stage; kernels of their stage."""
    schedule = compofa()
    for phase in schedule.phases[1:]:
        drawn = {slot.subnet for step in range(phase.start, phase.end) for slot in schedule.at(step).slots}
        if phase.name == "compound 2":
            assert len(drawn) == 243
        for subnet in drawn:
            SPACE.validate(subnet)
            for stage, kernel in zip(subnet.stages, KERNELS, strict=True):
                ratio = {2: 3, 3: 4, 4: 6}[len(stage.blocks)]
                assert {(block.kernel, block.expand) for block in stage.blocks} == {(kernel, ratio)}


def test_its_subnets_have_the_published_sizes() -> None:
    compound = compound_space(SPACE, KERNELS)
    macs = [complexity(SPACE, subnet).macs for subnet in (compound.smallest(), compound.largest())]
    assert macs == [124_326_864, 446_764_320]
    middle = compound.assemble({each: 3 for each in compound.dimensions() if each.what == "depth"})
    assert complexity(SPACE, middle).macs == 231_579_712


def test_one_kernel_is_of_all_stages_and_none_the_largest() -> None:
    for kernels, size in (([5], 5), ([], 7)):
        subnet = compofa(kernels=kernels).at(2000).slots[0].subnet
        assert {block.kernel for stage in subnet.stages for block in stage.blocks} == {size}


def test_a_stage_of_one_depth_keeps_its_largest_ratio() -> None:
    compound = compound_space(NETWORKS["proxyless"])
    assert {block.expand for block in compound.smallest().stages[-1].blocks} == {6}


def test_it_starts_from_weights_too() -> None:
    assert [phase.name for phase in compofa(start=(LoadWeights(Path("runs/teacher")),)).phases] == [
        "compound 1",
        "compound 2",
    ]


@pytest.mark.parametrize(
    ("space", "settings", "complaint"),
    [
        (SPACE, {"kernels": [3, 5]}, r"schedule.kernels: \[3, 5\] are needed for 5 stages, or one for all"),
        (SPACE, {"kernels": [9]}, r"schedule.kernels: 9 of stage 1 is none of \[3, 5, 7\]"),
        (NETWORKS["mobilenet_v3_digits"], {"kernels": []}, r"stage 1 has depths \[1, 2\] and ratios \[3, 4, 6\]"),
        (SPACE, {"progression": ["compound 1", "compound 2"]}, "'compound 1' has no teacher"),
    ],
)
def test_what_does_not_pair_is_refused(space: Space, settings: dict, complaint: str) -> None:
    with pytest.raises(ScheduleError, match=complaint):
        compofa(space, **settings)
