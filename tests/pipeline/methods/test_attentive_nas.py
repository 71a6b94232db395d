"""AttentiveNAS: slots of several candidates near one number of MACs, of a prior that follows from the seed alone."""

from collections import Counter

import pytest

from pipeline.methods import prior
from pipeline.methods.attentive_nas import AttentiveNasConfig
from pipeline.methods.deps import DepsConfig
from pipeline.methods.draws import Key
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.losses import LabelCrossEntropy, SoftCrossEntropy
from pipeline.methods.phases import Pick
from pipeline.methods.prior import NearTarget, bin_of
from pipeline.methods.sampling import AttentiveConfig
from pipeline.methods.schedule import Schedule
from pipeline.methods.work import training_macs
from pipeline.supernet.complexity import complexity
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.subnet import Subnet
from tests.pipeline.methods.tables import table

SPACE = NETWORKS["attentive_nas_digits"]
RATE = LearningRateConfig(base=0.4, warmup="10 steps")
BIN = 250_000.0
DRAW = NearTarget(SPACE, BIN, table=400)


def attentive(**sampling: object) -> Schedule:
    config = AttentiveNasConfig(
        duration="2 epochs",
        learning_rate=RATE,
        sampling=AttentiveConfig.model_validate({"table": 100, **sampling}),
    )
    return Schedule(config, SPACE, 50, seed=0)


def test_it_trains_the_largest_two_attentive_ones_and_the_smallest() -> None:
    assert table(attentive()) == ["supernet | 0-100 | 1 full + 2 attentive + 1 smallest | 0.04 to 9.869e-05"]
    slots = attentive().at(7).slots
    assert (slots[0].subnet, slots[3].subnet) == (SPACE.largest(), SPACE.smallest())
    assert [slot.loss for slot in slots] == [LabelCrossEntropy(0.1), *[SoftCrossEntropy("full", 1.0)] * 3]
    for slot in slots[1:3]:
        assert (len(slot.candidates), slot.subnet) == (3, slot.candidates[0])
        assert slot.pick == Pick(3, "best", LabelCrossEntropy(0.1))
    assert not slots[0].candidates
    assert not slots[3].candidates


def test_the_best_has_the_least_loss_the_worst_the_greatest() -> None:
    for which, place in (("best", 1), ("worst", 2)):
        slot = attentive(pick=which).at(7).slots[1]
        assert slot.picked([2.0, 1.0, 3.0]).subnet == slot.candidates[place]
        assert slot.picked([1.0, 1.0, 1.0]).subnet == slot.candidates[0]


def test_candidates_of_a_slot_fall_into_one_bin_and_bins_are_drawn_as_often_as_the_space_has_them() -> None:
    """Against a table of uniform subnets drawn here; bins apart by less than four deviations of their counts."""
    found: Counter[int] = Counter()
    steps = 300
    for step in range(steps):
        bins = {bin_of(SPACE, DRAW(Key(5, step, 1, candidate)), BIN) for candidate in range(3)}
        assert len(bins) == 1, f"step {step}"
        found.update(bins)
    uniform = Schedule(
        DepsConfig(duration="4 epochs", full_model_warmup=0, epsilon_ramp=0, learning_rate=RATE), SPACE, 50, 9
    )
    subnets = [slot.subnet for step in range(200) for slot in uniform.at(step).slots[2:]]
    expected = Counter(bin_of(SPACE, subnet, BIN) for subnet in subnets)
    for number in found.keys() | expected.keys():
        one, other = found[number] / steps, expected[number] / len(subnets)
        share = (one + other) / 2
        deviation = (share * (1 / steps + 1 / len(subnets) + 1 / 400)) ** 0.5
        assert abs(one - other) < 4 * deviation + 1e-9, f"bin {number}: {one} against {other}"


def test_what_is_drawn_follows_from_seed_step_slot_and_candidate_alone() -> None:
    keys = [Key(5, step, slot, candidate) for step in (0, 7) for slot in (1, 2) for candidate in range(3)]
    drawn = [DRAW(key) for key in keys]
    assert [NearTarget(SPACE, BIN, table=400)(key) for key in reversed(keys)] == drawn[::-1]
    assert len(set(drawn)) > 8
    assert drawn != [DRAW(key._replace(seed=6)) for key in keys]
    assert all(SPACE.validate(subnet) for subnet in drawn)


def test_a_bin_is_a_seventieth_of_the_range_by_default() -> None:
    least, most = (complexity(SPACE, subnet).macs for subnet in (SPACE.smallest(), SPACE.largest()))
    default, stated = (NearTarget(SPACE, width, table=50)(Key(1, 2, 1)) for width in (None, (most - least) / 70))
    assert default == stated


def test_where_101_tries_miss_the_bin_the_last_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    DRAW(Key(5, 0, 1))  # with its table
    tried: list[Subnet] = []
    monkeypatch.setattr(prior, "bin_of", lambda space, subnet, width: tried.append(subnet))
    assert DRAW(Key(5, 0, 1)) == tried[-1]
    assert len(tried) == 101


def test_deps_may_sample_attentively() -> None:
    config = DepsConfig(
        duration="4 epochs",
        learning_rate=RATE,
        epsilon_ramp="0 steps",
        sampling=AttentiveConfig(pick="worst", table=50),
    )
    space = NETWORKS["mobilenet_v3_digits"]
    schedule = Schedule(config, space, 50, seed=0)
    slots = schedule.at(150).slots
    assert [slot.name for slot in slots] == ["full", "smallest", "attentive", "attentive"]
    assert slots[2].pick is not None
    assert slots[2].pick.which == "worst"
    assert all(space.validate(subnet) for slot in slots for subnet in slot.candidates)


@pytest.mark.parametrize("count", [1, 3])
def test_the_work_of_a_step_has_the_candidates_in_it(count: int) -> None:
    """Three passes for each that is trained, of which backward is two, and one for each candidate."""
    plan = attentive(candidates=count).at(3)
    trained = sum(complexity(SPACE, slot.subnet).macs for slot in plan.slots)
    tried = sum(complexity(SPACE, subnet).macs for slot in plan.slots[1:3] for subnet in slot.candidates)
    assert training_macs(SPACE, plan) == 3 * trained + tried
