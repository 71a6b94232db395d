"""Recipes that take parts of several methods: those that make sense, and one line for those that do not."""

from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.methods.losses import AlphaDivergence, SoftCrossEntropy, WeightedSum
from pipeline.methods.phases import Phase
from pipeline.methods.schedule import Schedule
from pipeline.recipe.reading import load_recipe
from pipeline.recipe.schedule_of import schedule_of
from pipeline.supernet.networks import build_space
from tests.pipeline.methods.tables import table
from tests.support.cheap_dry_runs import cheaply
from tests.support.command_line import deps
from tests.support.processes import REPOSITORY

PER_EPOCH = 312  # of digits100
ALPHA = AlphaDivergence("full", 1.0, (-1.0, 1.0), 5.0)


def schedule(method: str, *overrides: str) -> Schedule:
    recipe = load_recipe(REPOSITORY / "recipes" / f"digits100_{method}.yaml", overrides)
    return schedule_of(recipe, build_space(recipe.space), PER_EPOCH)


def phase(found: Schedule, name: str) -> Phase:
    return next(each for each in found.phases if each.name == name)


def test_deps_by_the_alpha_divergence() -> None:
    found = schedule("deps", "loss.soft={name: alpha}")
    assert [each.name for each in found.phases] == ["full model", "ramp", "supernet"]
    assert [slot.loss for slot in phase(found, "ramp").slots[1:]] == [ALPHA] * 3


def test_deps_with_best_up_sampling_has_the_ramp_of_its_own() -> None:
    found = schedule("deps", "schedule.sampling={name: attentive, candidates: 5, table: 20}")
    assert phase(found, "ramp").slot_names == ("full", "smallest", "attentive", "attentive")
    slots = found.at(phase(found, "ramp").start).slots
    assert len(slots[2].candidates) == 5
    assert 0 < slots[2].scale == slots[1].scale < 0.01
    assert slots[2].loss == SoftCrossEntropy("full", 1.0)


def test_ofa_without_a_depth_phase_and_in_another_order() -> None:
    found = schedule("ofa", "schedule.progression=[teacher, expand 1, expand 2, kernel]")
    assert [row.split(" | ")[0] for row in table(found)] == ["teacher", "expand 1", "expand 2", "kernel"]
    drawn = [slot.subnet for step in range(2400, 2450) for slot in found.at(step).slots]
    assert {subnet.depths for subnet in drawn} == {found.space.largest().depths}
    assert {kernel for subnet in drawn for stage in subnet.kernels for kernel in stage} == {3, 5}
    assert {ratio for subnet in drawn for stage in subnet.expands for ratio in stage} == {3, 4, 6}


def test_ofa_by_the_alpha_divergence_of_its_teacher() -> None:
    loss = phase(schedule("ofa", "loss.soft={name: alpha}"), "kernel").slots[0].loss
    assert isinstance(loss, WeightedSum)
    assert loss.terms[1] == (1.0, AlphaDivergence("teacher", 1.0, (-1.0, 1.0), 5.0))


@pytest.mark.parametrize("method", ["ofa", "compofa"])
def test_what_a_phase_opens_gets_its_part_of_the_gradient_over_the_ramp(method: str) -> None:
    """The factor of subnets that are new rises linearly from 0 to 1; that of those that were trained is 1."""
    found = schedule(method, "schedule.epsilon_ramp=20%")
    opening = [each for each in found.phases[1:] if each.name != "compound 2"]
    earlier = found.space.narrowed(kernels=1, depths=1, expands=1)
    for each in opening:
        steps = round(0.2 * (each.end - each.start))
        new = old = 0
        for step in range(each.start, each.end):
            for slot in found.at(step).slots:
                if step >= each.start + steps - 1 or earlier.holds(slot.subnet):
                    assert slot.scale == 1
                    old += step < each.start + steps - 1
                else:
                    assert slot.scale == pytest.approx((step - each.start + 1) / steps, rel=1e-12)
                    new += 1
        assert new > 10, each.name
        assert old > 0 or each.name in ("kernel", "compound 1"), "before, there was the full model alone"
        first = found.at(each.start)
        assert first.epsilon == min(slot.scale for slot in first.slots)
        for slot in each.slots:
            earlier = slot.draw.space  # pyright: ignore[reportAttributeAccessIssue]
    if method == "compofa":
        assert all(slot.scale == 1 for slot in found.at(phase(found, "compound 2").start).slots), "it opens nothing"


def test_a_phase_may_have_a_ramp_of_its_own() -> None:
    own = "schedule.progression=[teacher, {phase: kernel, epsilon_ramp: 10 steps}, expand 2]"
    found = schedule("ofa", own)
    kernel, expand = phase(found, "kernel"), phase(found, "expand 2")
    assert kernel.slots[0].scale(kernel.start) == 0.1
    assert kernel.slots[0].scale(kernel.start + 10) == 1
    assert expand.slots[0].scale(expand.start) == 1


START = "model.start=nowhere"


@pytest.mark.parametrize(
    ("method", "overrides", "complaint"),
    [
        (
            "single",
            ["loss.soft={name: alpha}"],
            "loss.soft: alpha is for subnets that learn from soft labels, of which",
        ),
        ("deps", ["loss.soft={name: alpha}", "schedule.distillation=off"], "loss.soft: alpha is for subnets that"),
        ("ofa", ["loss.soft={name: cross_entropy}", "schedule.kd_ratio=0"], "loss.soft: cross_entropy is for subnets"),
        ("ofa", ["schedule.sampling={name: attentive}"], "schedule.sampling: unknown key where name is 'ofa'"),
        ("bignas", ["schedule.epsilon_ramp=10 steps"], "schedule.epsilon_ramp: unknown key where name is 'bignas'"),
        ("deps", ["schedule.sampling={name: uniform, predictor: x}"], "schedule.sampling.predictor: unknown key where"),
        ("deps", ["schedule.full_model_warmup=0"], "schedule.epsilon_ramp: '12.5%' is .* steps, and does not fit"),
        ("ofa", ["schedule.epsilon_ramp=100%"], "schedule.epsilon_ramp: '100%' is .* steps, and 'kernel' lasts"),
        (
            "ofa",
            ["schedule.progression=[{phase: teacher, epsilon_ramp: 3 steps}, kernel]"],
            "schedule.progression: 'teacher' opens no subnets that a ramp could be of",
        ),
        (
            "compofa",
            ["schedule.progression=[teacher, compound 1, {phase: compound 2, epsilon_ramp: 3 steps}]"],
            "schedule.progression: 'compound 2' opens no subnets that a ramp could be of",
        ),
        ("bignas", [START], "schedule.start_as_shortcuts: would set weights of model.start to zero"),
        ("compofa", ["space.depths=[1, 2]"], "schedule.name: compofa pairs depths and expand ratios"),
        (
            "attentive",
            ["schedule.sampling.predictor=nowhere.json"],
            "schedule.sampling.predictor: nowhere.json: No such file or directory; deps predictor makes one",
        ),
    ],
)
def test_what_makes_no_sense_is_one_line(method: str, overrides: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as refusal:
        schedule(method, *overrides)
    assert "\n" not in str(refusal.value)


def test_every_combination_above_is_what_a_dry_run_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cheaply(monkeypatch)
    for method, override in (
        ("deps", "loss.soft={name: alpha}"),
        ("deps", "schedule.sampling={name: attentive, table: 20}"),
        ("ofa", "schedule.epsilon_ramp=10%"),
        ("ofa", "schedule.progression=[teacher, expand 1, expand 2, kernel]"),
    ):
        recipe = REPOSITORY / "recipes" / f"digits100_{method}.yaml"
        done = deps("train", recipe, override, "engine={name: single}", "--dry-run", "--json", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
