"""What a step draws for: purposes share no number, and what was drawn for earlier runs is drawn for them again."""

import pytest
import torch

from data_shards.randomness import Of, Purpose
from pipeline.methods.deps import DepsConfig
from pipeline.methods.draws import step_bits
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.schedule import Schedule
from pipeline.supernet.networks import NETWORKS

SLOTS = 2 + 64  # of the largest sandwich that a recipe may ask for


def test_no_two_draws_of_a_step_share_a_seed() -> None:
    """Dropout of rank r had the seed of the random subnet of slot r."""
    for step in range(3):
        drawn = [step_bits(1, step, Purpose.SUBNET, slot) for slot in range(SLOTS)]
        drawn.append(step_bits(1, step, Purpose.RESOLUTION))
        drawn += [step_bits(1, step, Purpose.DROPOUT, rank) for rank in range(512)]
        assert len(set(drawn)) == SLOTS + 1 + 512


def test_no_purpose_lies_among_the_numbers_of_the_slots() -> None:
    numbered = {purpose.number for purpose in Purpose if purpose.of is Of.STEP} - {None}
    assert numbered == {Purpose.RESOLUTION.number, Purpose.DROPOUT.number, Purpose.MACS_TABLE.number}
    assert min(number for number in numbered if number is not None) >= SLOTS


def test_a_slot_or_rank_is_named_where_it_tells_draws_apart() -> None:
    for arguments in ((Purpose.SUBNET,), (Purpose.DROPOUT,), (Purpose.RESOLUTION, 1), (Purpose.FLIP, 1)):
        with pytest.raises(AssertionError):
            step_bits(1, 2, *arguments)


def test_subnets_and_resolutions_are_those_of_runs_that_were_begun_before() -> None:
    """By NumPy's SeedSequence, whose values are fixed for good: of (seed, step, slot); 2^16 stands for resolutions."""
    assert step_bits(7, 0, Purpose.SUBNET, 2) == 532540957440739557
    assert step_bits(7, 123456, Purpose.SUBNET, 2) == 13424420099885800412
    assert step_bits(7, 123456, Purpose.SUBNET, 65) == 7930776162551450288
    assert step_bits(7, 123456, Purpose.RESOLUTION) == 9064593068722346852
    assert step_bits(7, 5, Purpose.DROPOUT, 0) == 2449965229584847869
    assert step_bits(7, 5, Purpose.DROPOUT, 3) == 9024097213788120753
    config = DepsConfig(
        duration="9 steps",
        full_model_warmup="0 steps",
        epsilon_ramp="0 steps",
        learning_rate=LearningRateConfig(base=0.1),
    )
    schedule = Schedule(config, NETWORKS["mobilenet_v3_digits"], steps_per_epoch=9, seed=7)
    wanted = schedule.space.sample(torch.Generator().manual_seed(532540957440739557))
    assert schedule.at(0).slots[2].subnet == wanted
