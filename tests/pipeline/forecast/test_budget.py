"""A budget planned for: durations in the method's proportions, and what the run then costs."""

import json
from pathlib import Path

import pytest
import yaml

from pipeline.forecast.budget import Budget, budget_of, plan_budget
from pipeline.forecast.costs import Links
from pipeline.forecast.dry_run import schedule_without_data
from pipeline.forecast.hours import RunHours
from pipeline.forecast.lengths import CountedMacs, Lengths, scaled
from pipeline.forecast.step_times import StepTime
from pipeline.recipe.reading import load_recipe
from pipeline.tracking.ledger import read_ledger
from pipeline.training.milestones import milestones
from tests.pipeline.forecast.test_plan import RECIPE, STEPS, WITHOUT_DATA, recipe, times
from tests.support.command_line import deps, refused
from tests.support.processes import small_run

FAST = Links(1e9, 1e9)


def test_durations_keep_their_proportions_and_percentages_stay() -> None:
    run = recipe("schedule.learning_rate={base: 0.1, warmup: 1 epochs, decay_every: 2%}")
    whole = schedule_without_data(run)
    assert (whole.steps, whole.steps_per_epoch) == (100, 10)
    half = scaled(run, whole, 50)
    assert half.schedule.duration == "50 steps"
    assert (half.schedule.full_model_warmup, half.schedule.epsilon_ramp) == ("20 steps", "5 steps")
    assert (half.schedule.learning_rate.warmup, half.schedule.learning_rate.decay_every) == ("5 steps", "2%")
    assert half.model_copy(update={"schedule": run.schedule}) == run, "nothing else"
    assert scaled(run, whole, 3).schedule.epsilon_ramp == "1 steps", "what lasts goes on lasting"
    assert scaled(recipe("schedule.epsilon_ramp=0"), whole, 50).schedule.epsilon_ramp == "0 steps"


def test_the_shortest_run_has_all_phases() -> None:
    run = recipe()
    lengths = Lengths(run, schedule_without_data(run))
    shortest = lengths.shortest()
    assert [phase.name for phase in shortest.phases] == ["full model", "ramp", "supernet"]
    assert min(phase.end - phase.start for phase in shortest.phases) == 1
    assert lengths.at(shortest.steps - 1) is None


@pytest.mark.parametrize("share", [0.08, 0.4, 1.0, 3.7])
def test_a_budget_of_macs_is_met_to_a_step_and_never_exceeded(share: float) -> None:
    run = recipe()
    whole, macs = schedule_without_data(run), CountedMacs(run.batch_size)
    budget = round(share * macs(whole))
    found = plan_budget(run, whole, Budget("training MACs", budget, "--training-macs"), None)
    assert macs(found) <= budget
    longer = Lengths(run, whole).at(found.steps + 1)
    assert longer is None or macs(longer) > budget
    assert found.steps == pytest.approx(share * whole.steps, abs=3)
    if share == 1.0:
        assert found.steps == whole.steps


@pytest.mark.parametrize(
    "method",
    [
        [*STEPS, "schedule.full_model_warmup=50%"],
        ["space.depths=[1,2,3]", "schedule={name: compofa, duration: 10 epochs, learning_rate: {base: 0.1}}"],
        ["schedule={name: ofa, duration: 10 epochs, learning_rate: {base: 0.1}}"],
    ],
    ids=["deps", "compofa", "ofa"],
)
def test_the_longest_run_is_found_whatever_its_length(method: list[str]) -> None:
    run = load_recipe(RECIPE, [*WITHOUT_DATA, *method])
    lengths = Lengths(run, schedule_without_data(run))
    for steps in range(lengths.shortest().steps, 140):
        if lengths.at(steps):
            found = lengths.within(steps, lambda schedule: schedule.steps)
            assert found is not None
            assert found.steps == steps


def test_a_run_that_begins_with_weights_needs_no_phase_of_a_teacher_at_any_length() -> None:
    method = "schedule={name: ofa, duration: 10 epochs, learning_rate: {base: 0.1}}"
    run = recipe(method, "model.start=trained")
    whole, macs = schedule_without_data(run), CountedMacs(run.batch_size)
    assert "teacher" not in [phase.name for phase in whole.phases]
    found = plan_budget(run, whole, Budget("training MACs", macs(whole) / 2, "--training-macs"), None)
    assert found.steps == pytest.approx(whole.steps / 2, abs=3)
    assert [type(entry).__name__ for entry in found.phases[0].enter][:1] == ["LoadWeights"]


def test_macs_of_candidates_are_told_to_be_inexact() -> None:
    def planned(*overrides: str) -> str:
        done = deps("plan", RECIPE, *WITHOUT_DATA, *overrides, "--training-macs", 1e11)
        assert done.returncode == 0, done.stderr
        return " ".join(done.stdout.split())

    assert "training MACs are exact" in planned()
    assert "the first is taken to be picked" in planned("schedule.sampling={name: attentive, table: 50}")


def test_hours_are_of_steps_evaluations_and_starts_by_hand() -> None:
    kept = ["data.validation_samples=200", "train_samples=1200", "cost.price_per_gpu_hour=3"]
    run = recipe(*kept, "evaluation={every: 25 steps, recalibration_samples: 50}")
    whole = schedule_without_data(run)
    measured = times().model_copy(update={"evaluation": StepTime(fixed=1.0, per_image=0.1), "start_seconds": 7.0})
    steps = 30 * (0.1 + 1.0) + 70 * (0.2 + 4.0)
    evaluations = 4 * (1.0 + 20.0) + 4 * (1.0 + 25.0)
    found = RunHours(run, whole, measured, FAST, 8, 1).split(whole)
    assert found == pytest.approx({"steps": steps / 3600, "evaluation": evaluations / 3600, "start": 7 / 3600})

    two = RunHours(run, whole, measured, FAST, 8, 2).split(whole)
    shared = 30 * (0.1 + 0.5) + 70 * (0.2 + 2.0)
    assert two["steps"] == pytest.approx(2 * shared / 3600, rel=1e-3)
    assert two["evaluation"] == pytest.approx(2 * (4 * (1.0 + 10.0) + 4 * (1.0 + 15.0)) / 3600)
    assert two["start"] == pytest.approx(14 / 3600)

    hours = RunHours(run, whole, measured, FAST, 8, 1)
    half = plan_budget(run, whole, Budget("dollars", 1.5 * hours(whole), "--dollars"), hours)
    assert hours(half) == pytest.approx(hours(whole) / 2, rel=0.1)
    same = plan_budget(run, whole, Budget("hours", hours(whole) / 2, "--gpu-hours"), hours)
    assert same.steps == half.steps


def test_evaluations_are_counted_as_a_run_does_them() -> None:
    for every, dips in (("25 steps", "0 steps"), ("30 steps", "3 steps"), ("0 steps", "7 steps"), ("1 epochs", "10%")):
        run = recipe(f"evaluation={{every: {every}, full_when_shrinking: {dips}}}")
        found = milestones(run, schedule_without_data(run))
        steps = range(1, 101)
        full, both = sum(map(found.evaluates_full, steps)), sum(map(found.evaluates, steps))
        assert found.evaluations() == (full, both)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--training-macs", "1000"], "--training-macs 1000: the shortest run of all phases, 4 steps, costs"),
        (["--training-macs", "1e12", "--dollars", "5"], "give one budget"),
        (["--write", "x.yaml"], "needs a budget"),
        (["--training-macs", "1e12", "--gpus", "3"], "3 does not divide batch_size 100"),
        (["--training-macs", "1e12", "--gpus", "2", "--gpus", "4"], "is planned for one number of accelerators"),
        (["--training-macs", "1e14", "--write", "/nowhere/x.yaml"], "--write /nowhere/x.yaml: cannot be written"),
        (["--gpu-hours", "0"], "is no number from"),
    ],
)
def test_what_cannot_be_planned_is_refused(options: list[str], told: str) -> None:
    assert told in refused(deps("plan", RECIPE, *WITHOUT_DATA, *STEPS, *options))


@pytest.mark.parametrize("price", [[], ["cost.price_per_gpu_hour=2"]])
def test_dollars_need_a_price(price: list[str], tmp_path: Path) -> None:
    times().save(tmp_path / "gpu.json")
    times("cpu", "Xeon").save(tmp_path / "cpu.json")
    where = ["--gpu", "cpu", "--measured", tmp_path / "cpu.json"]
    if not price:
        where = ["--gpu", "h200", "--measured", tmp_path / "gpu.json"]
    done = deps("plan", RECIPE, *WITHOUT_DATA, *STEPS, *price, *where, "--dollars", "1")
    assert "--dollars 1: needs accelerators with a price" in refused(done)
    done = deps("plan", RECIPE, *WITHOUT_DATA, *STEPS, "cost.price_per_gpu_hour=2", "--gpu", "h200", "--measured",
                tmp_path / "gpu.json", "--dollars", "0.05", "--json")  # fmt: skip
    assert 0.04 < json.loads(done.stdout)["dollars"] <= 0.05


def test_a_run_of_the_written_recipe_costs_what_was_planned(digits: Path, tmp_path: Path) -> None:
    keys = [*small_run(digits, tmp_path), "engine.name=single"]
    written = tmp_path / "short.yaml"
    done = deps("plan", *keys, "--training-macs", "3e9", "--write", written, "--json")
    found = json.loads(done.stdout)
    assert 2.7e9 < found["training_macs"] <= 3e9
    assert found["steps"] < 32
    assert yaml.safe_load(written.read_text())["schedule"]["duration"] == f"{found['steps']} steps"
    assert load_recipe(written).schedule.duration == f"{found['steps']} steps"
    trained = deps("train", written, "name=short")
    assert trained.returncode == 0, trained
    assert read_ledger(tmp_path / "short" / "ledger.json").training_macs == found["training_macs"]


def test_only_one_budget_is_given() -> None:
    assert budget_of(None, None, None, None) is None
    found = budget_of(None, 2e12, None, Path("x"))
    assert found == Budget("training MACs", 2e12, "--training-macs 2e+12")
