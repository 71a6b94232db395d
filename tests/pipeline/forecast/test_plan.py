"""`deps plan`: hours and dollars at any number of accelerators, from step times of one; sums done by hand here."""

import json
import math
import re
from pathlib import Path
from typing import Literal

import pytest
import torch

from pipeline.engines.optimizer import SgdConfig
from pipeline.engines.single import SingleEngine
from pipeline.errors import UsageError
from pipeline.forecast import trial_steps
from pipeline.forecast.costs import Links, _columns, costs, print_costs
from pipeline.forecast.dry_run import schedule_without_data
from pipeline.forecast.step_times import StepTime, StepTimes, _line, computed
from pipeline.methods.draws import Largest, Uniform
from pipeline.methods.entries import freeze_teacher
from pipeline.methods.learning_rate import LearningRateConfig
from pipeline.methods.losses import LossConfig
from pipeline.methods.method import BaseMethodConfig
from pipeline.methods.phases import FULL, Clock, Phase, SlotRule, StepPlan
from pipeline.methods.schedule import Schedule
from pipeline.processes.group import Processes
from pipeline.recipe.reading import load_recipe
from pipeline.supernet.networks import build_space
from pipeline.supernet.space import Space
from pipeline.supernet.supernet import Supernet
from pipeline.training.sandwich import StepResult
from tests.support.command_line import deps

RECIPE = Path("recipes/digits.yaml")
WITHOUT_DATA = ["data.shards=/nowhere", "train_samples=1000", "space.classes=10", "batch_size=100"]
STEPS = ["schedule.duration=100 steps", "schedule.full_model_warmup=40 steps", "schedule.epsilon_ramp=10 steps"]
LINKS = Links(within=100, between=10, share=0.5)


def recipe(*overrides: str):
    return load_recipe(RECIPE, [*WITHOUT_DATA, *STEPS, *overrides])


def times(device: str = "cuda", machine: str = "NVIDIA H200") -> StepTimes:
    run = recipe()
    sandwich = StepTime(fixed=0.2, per_image=0.04)
    return StepTimes(
        machine=machine,
        device=device,
        computes=computed(run, schedule_without_data(run)),
        images=(50, 100),
        phases={"full model": StepTime(fixed=0.1, per_image=0.01), "ramp": sandwich, "supernet": sandwich},
    )


def test_an_all_reduce_is_two_rings_and_their_hops() -> None:
    # 1 GB on 2 nodes of 4: 2 · 3/4 GB at 50 GB/s, then 2 · 1/2 GB at 5 GB/s, then 2 · (3 + 1) hops of 10 µs.
    assert LINKS.all_reduce(1e9, nodes=2, per_node=4) == pytest.approx(0.03 + 0.2 + 8e-5)
    assert LINKS.all_reduce(1e9, nodes=1, per_node=1) == 0


def test_hours_are_those_of_all_steps_and_dollars_those_of_all_accelerators() -> None:
    run = recipe("cost.price_per_gpu_hour=2")
    one, two = costs(run, schedule_without_data(run), times(), Links(1e9, 1e9), 8, [1, 2, 3])
    alone = 30 * (0.1 + 1.0) + 70 * (0.2 + 4.0)
    assert one["wall_hours"] == pytest.approx(alone / 3600)
    assert one["dollars"] == pytest.approx(2 * alone / 3600)
    shared = 30 * (0.1 + 0.5) + 70 * (0.2 + 2.0)
    assert two["wall_hours"] == pytest.approx(shared / 3600, rel=1e-3)  # and the latency of the links
    assert two["accelerator_hours"] == pytest.approx(2 * shared / 3600, rel=1e-3)
    assert two["efficiency"] == pytest.approx(alone / (2 * shared), rel=1e-3)


@pytest.mark.parametrize(
    ("engine", "of_one", "of_four"),
    [  # in halves: a reduce-scatter or a gathering is one, an all-reduce two; tests/distributed counts the calls
        ({"name": "ddp"}, 2, 2),
        ({"name": "deepspeed", "zero_stage": 0}, 2, 2),
        ({"name": "deepspeed", "zero_stage": 1}, 2 + 1, 2 + 1),
        ({"name": "deepspeed", "zero_stage": 2}, 2 + 1, 4 * 2 + 1),
        ({"name": "deepspeed", "zero_stage": 3}, 3, 4 * 3),
        ({"name": "fsdp"}, 2 + 1, 4 * 2 + 1),
    ],
)
def test_what_an_engine_sends_in_a_step_of_one_subnet_and_of_four(
    engine: dict[str, object], of_one: int, of_four: int
) -> None:
    run = recipe(f"engine={json.dumps(engine)}")
    schedule = schedule_without_data(run)
    alone, two = costs(run, schedule, times(), LINKS, 8, [1, 2])
    half = LINKS.all_reduce(4 * 157_302, nodes=1, per_node=2) / 2
    assert alone["all_reduce_seconds"] == 0
    assert two["full_model_step_seconds"] == pytest.approx(0.1 + 0.01 * 50 + of_one * half, rel=1e-12)
    assert two["all_reduce_seconds"] == pytest.approx(of_four * half)


def test_a_number_that_does_not_divide_the_batch_has_no_row() -> None:
    run = recipe()
    rows = costs(run, schedule_without_data(run), times(), LINKS, 2, [1, 2, 3, 4, 64])
    assert [(row["accelerators"], row["nodes"]) for row in rows] == [(1, 1), (2, 1), (4, 2)]


def test_nodes_are_planned_for_with_all_of_their_accelerators(tmp_path: Path) -> None:
    times().save(tmp_path / "times.json")
    asked = ["--gpus-per-node", 2, "--nodes", 2, "--nodes", 5, "--gpus", 1, "--gpus", 4]
    run = [RECIPE, *WITHOUT_DATA, *STEPS]
    done = deps("plan", *run, "--gpu", "h200", "--measured", tmp_path / "times.json", *asked, "--json")
    assert done.returncode == 0
    rows = json.loads(done.stdout)["rows"]
    assert [(row["accelerators"], row["nodes"]) for row in rows] == [(1, 1), (4, 2), (10, 5)]


def test_numbers_without_a_row_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times().save(tmp_path / "times.json")
    for counts, told in (([1, 3, 64, 4], ["left out: 3, 64; batch_size 100 cannot be split so"]), ([1, 4], [])):
        print_costs(recipe(), "h200", 8, counts, None, None, tmp_path / "times.json", None, as_json=True)
        assumptions = json.loads(capsys.readouterr().out)["assumptions"]
        assert [line for line in assumptions if line.startswith("left out")] == told


def test_a_line_through_two_measurements_never_has_a_negative_part() -> None:
    for seconds, fixed, per_image in (((1.1, 2.1), 0.1, 0.02), ((1.0, 0.9), 0.9, 0), ((0.1, 2.0), 0, 0.02)):
        line = _line((50, 100), seconds)
        assert (line.fixed, line.per_image) == pytest.approx((fixed, per_image))


def test_measured_here_saved_and_planned_from_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept, run = tmp_path / "times.json", recipe("batch_size=8", "kernels=reference")
    print_costs(run, "cpu", 8, [1, 2], None, None, None, kept, as_json=True)
    first = json.loads(capsys.readouterr().out)
    assert first["unit"] == "CPU process hours"
    assert [row["accelerators"] for row in first["rows"]] == [1, 2]
    assert all(row["wall_hours"] > 0 for row in first["rows"])
    print_costs(run, "cpu", 8, [1, 2], None, None, kept, None, as_json=True)
    assert json.loads(capsys.readouterr().out) == first


def test_another_gpu_is_planned_for_where_its_links_are_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times(machine="NVIDIA L40S").save(tmp_path / "times.json")
    print_costs(recipe(), "L40S", 2, [4], 30.0, 12.5, tmp_path / "times.json", None, as_json=True)
    planned = json.loads(capsys.readouterr().out)
    assert [row["nodes"] for row in planned["rows"]] == [2]
    assert "links: 30 GB/s within a node of 2, 12.5 GB/s between nodes, one way" in planned["assumptions"][1]
    with pytest.raises(UsageError, match=r"--gpu l40s: is none of .*; for others give --link and --network as well"):
        print_costs(recipe(), "l40s", 2, [4], 30.0, None, tmp_path / "times.json", None, as_json=True)


@pytest.mark.parametrize(
    ("gpu", "counts", "overrides", "complaint"),
    [
        ("h100", [1], [], "--gpu h100: step times would be those of NVIDIA H200; on a machine with h100 run deps plan"),
        ("tpu", [1], [], "--gpu tpu: is none of v100, a100, h100, h200, cpu"),
        ("h200", [3], [], r"--gpus, --nodes: none of \[3\] divides batch_size 100"),
        ("h200", [1], ["space.resolutions=[24,32]"], r"is about resolutions \[32\]; the recipe has \[24, 32\]"),
        (
            "h200",
            [1],
            ["schedule.random_subnets=8"],
            "is about subnets .*'random', 'random'.*; the recipe has",
        ),
        ("h200", [1], ["model.precision=fp32"], "is about precision auto; the recipe has fp32"),
        ("h200", [1], ["kernels=reference"], "is about kernels auto; the recipe has reference"),
        ("h200", [1], ["space.depths=[1]"], r"is about MACs \[\d+, \d+\]; the recipe has"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    tmp_path: Path, gpu: str, counts: list[int], overrides: list[str], complaint: str
) -> None:
    times().save(tmp_path / "times.json")
    with pytest.raises(UsageError, match=complaint):
        print_costs(recipe(*overrides), gpu, 8, counts, None, None, tmp_path / "times.json", None, as_json=True)


@pytest.mark.parametrize(
    ("gpu", "counts", "complaint"),
    [("v100", [1], "--gpu v100: step times would be those of "), ("cpu", [3], "none of [3] divides")],
)
def test_what_is_refused_is_not_measured_first(
    gpu: str, counts: list[int], complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StepTimes, "measure", lambda *_: pytest.fail("measured"))
    with pytest.raises(UsageError, match=re.escape(complaint)):
        print_costs(recipe(), gpu, 8, counts, None, None, None, None, as_json=True)


@pytest.mark.parametrize("damage", ["of something else", "no time", "less than no time", "not a number"])
def test_a_file_that_holds_no_step_times_is_named(damage: str, tmp_path: Path) -> None:
    content = times().model_dump()
    seconds = {"no time": 0.0, "less than no time": -1.0, "not a number": math.nan}.get(damage)
    for phase in content["phases"].values():
        phase |= {"fixed": seconds, "per_image": seconds}
    (tmp_path / "other.json").write_text(json.dumps(content if seconds is not None else {}))
    run = recipe()
    with pytest.raises(UsageError, match=r"other.json: holds no step times; deps plan … --save FILE writes them"):
        StepTimes.load(tmp_path / "other.json", run, schedule_without_data(run))


def test_steps_are_named_by_their_phase_whatever_phases_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    """A recipe without warm-up begins with the sandwich, which was called a step of the full model."""
    asked: dict[str, list[str]] = {
        "full model, ramp, supernet": [],
        "full model, supernet": ["schedule.epsilon_ramp=0"],
        "ramp, supernet": ["schedule.epsilon_ramp=40 steps"],
        "supernet": ["schedule.full_model_warmup=0", "schedule.epsilon_ramp=0"],
        "full model": ["schedule.full_model_warmup=100%", "schedule.epsilon_ramp=0"],
    }
    for phases, overrides in asked.items():
        run = recipe(*overrides)
        schedule, names = schedule_without_data(run), phases.split(", ")
        each = {name: StepTime(fixed=number + 1.0, per_image=0) for number, name in enumerate(names)}
        measured = times().model_copy(update={"phases": each})
        (row,) = costs(run, schedule, measured, LINKS, 8, [1])
        found = {key: value for key, value in row.items() if key.endswith("_step_seconds")}
        assert found == {f"{name.replace(' ', '_')}_step_seconds": each[name].fixed for name in names}
        assert [heading for heading, _ in _columns(schedule).values() if heading.endswith(" step, s")] == [
            f"{name} step, s" for name in names
        ]


def test_phases_of_the_same_roles_have_step_times_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ramp and the supernet's phase train as many subnets, but a phase may do so in a way of its own."""
    run = recipe("batch_size=8", "kernels=reference")
    schedule = schedule_without_data(run)
    timed: list[str] = []

    def step(engine: object, plan: StepPlan, *_: object) -> StepResult:
        timed.append(plan.phase)
        return StepResult(plan, (), None, torch.tensor(1.0), 0.0)

    monkeypatch.setattr(trial_steps, "sandwich_step", step)
    monkeypatch.setattr(trial_steps, "enter", lambda engine, entries: None)
    monkeypatch.setattr(trial_steps, "_SECONDS", 0.0)
    found = trial_steps.seconds_per_step(run, None, schedule, Processes(0, 1, torch.device("cpu")), 8)
    assert list(found) == list(dict.fromkeys(timed)) == ["full model", "ramp", "supernet"]


class Taught(BaseMethodConfig, frozen=True):
    """The full model, which then is a frozen teacher of random subnets."""

    name: Literal["taught"] = "taught"

    def phases(self, space: Space, clock: Clock, loss: LossConfig) -> tuple[Phase, ...]:
        teacher = SlotRule(FULL, Largest(space), loss.of_labels())
        pupil = SlotRule("pupil", Uniform(space), loss.of_network("teacher"))
        return (
            Phase("teacher", 0, 2, (teacher,), lambda step: 0.1),
            Phase("pupils", 2, clock.total, (pupil, pupil), lambda step: 0.1, enter=(freeze_teacher,)),
        )


def test_trial_steps_of_a_phase_have_what_it_brings_on_being_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    run = recipe("batch_size=4", "kernels=reference")
    method = Taught(duration="4 steps", learning_rate=LearningRateConfig(base=0.1))
    schedule = Schedule(method, build_space(run.space), steps_per_epoch=4, seed=0)
    engine = SingleEngine(Supernet(schedule.space, kernels="reference"), SgdConfig())
    monkeypatch.setattr(trial_steps, "_SECONDS", 0.0)
    found = trial_steps.seconds_per_step(run, engine, schedule, Processes(0, 1, torch.device("cpu")), 4)
    assert list(found) == ["teacher", "pupils"]
    assert engine.full_state().teacher is not None


def test_a_trial_step_takes_what_a_reader_hands_over_and_varies_it_as_training_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = recipe("batch_size=8", "data.augmentation.mixup=0.5", "data.augmentation.random_erasing.probability=1")
    seen: list[tuple[torch.dtype, torch.Size, torch.Size]] = []

    def step(engine: object, plan: StepPlan, images: torch.Tensor, labels: torch.Tensor) -> StepResult:
        seen.append((images.dtype, images.shape, labels.shape))
        return StepResult(plan, (), None, torch.tensor(1.0), 0.0)

    monkeypatch.setattr(trial_steps, "sandwich_step", step)
    monkeypatch.setattr(trial_steps, "enter", lambda engine, entries: None)
    monkeypatch.setattr(trial_steps, "_SECONDS", 0.0)
    trial_steps.seconds_per_step(run, None, schedule_without_data(run), Processes(0, 1, torch.device("cpu")), 6)
    assert set(seen) == {(torch.float32, (6, 3, 32, 32), (6, 10))}  # mixed labels
    batch = trial_steps.made_up_batch(6, 32, 10, run.data.augmentation)
    assert batch.images.dtype == torch.uint8
    assert trial_steps.in_pairs(7) == trial_steps.in_pairs(6) == 6
    with pytest.raises(UsageError, match="pair the samples of a process, and 1 have no pairs"):
        trial_steps.made_up_batch(1, 32, 10, run.data.augmentation)
