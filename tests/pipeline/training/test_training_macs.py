"""Training MACs: a run's ledger against a hand count, over phases, restarts and processes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.methods.losses import SoftCrossEntropy
from pipeline.methods.schedule import Schedule
from pipeline.methods.work import macs_per_image, training_macs
from pipeline.recipe.reading import load_recipe
from pipeline.run.status import run_status
from pipeline.supernet.layer import Layer
from pipeline.supernet.networks import NETWORKS, build_space, named
from pipeline.supernet.shapes import layers
from pipeline.supernet.subnet import Subnet
from pipeline.tracking.ledger import TRAINING_MACS, read_ledger
from pipeline.tracking.metrics import read_metrics
from tests.support import processes
from tests.support.command_line import deps
from tests.support.processes import small_run

STEPS, BATCH = 32, 16
SHRINKING, SHRUNK = 9, 14  # of `small_run`: the full model alone, the ramp, the supernet


def by_hand(schedule: Schedule, step: int) -> int:
    """Of one image: forward, and two products as large backward, of each subnet that the method says to train."""
    full, smallest = (at(schedule, step, subnet) for subnet in (schedule.space.largest(), schedule.space.smallest()))
    subnets = [full] if step < SHRINKING else [full, smallest, *(slot.subnet for slot in schedule.at(step).slots[2:])]
    assert len(subnets) == (1 if step < SHRINKING else 4)
    return 3 * sum(multiplications(layer) for subnet in subnets for layer in layers(schedule.space, subnet))


def at(schedule: Schedule, step: int, subnet: Subnet) -> Subnet:
    return replace(subnet, resolution=schedule.resolution(step))


def multiplications(layer: Layer) -> int:
    """One for each weight at each place of the output that it is used at."""
    if layer.kind in ("pool", "max_pool", "resize"):
        return 0
    inputs = 1 if layer.kind == "depthwise" else layer.inputs
    return layer.side**2 * layer.outputs * inputs * layer.kernel**2


def schedule_of(recipe: list[str]) -> Schedule:
    loaded = load_recipe(Path(recipe[0]), recipe[1:])
    return Schedule(loaded.schedule, build_space(loaded.space, 10), 89, loaded.seed, loaded.loss)


@pytest.mark.parametrize("world", [1, 2])
def test_a_run_counts_what_is_counted_by_hand(digits: Path, tmp_path: Path, world: int) -> None:
    # Neither the number of processes changes it, nor what is computed again to save memory.
    keys = ["name=run", "engine.name=ddp", f"model.activation_checkpointing={world == 2}".lower()]
    recipe = [*small_run(digits, tmp_path), *keys]
    processes.run(["-m", "pipeline.train", *recipe], world)
    schedule = schedule_of(recipe)
    expected = [BATCH * by_hand(schedule, step) for step in range(STEPS)]
    run = tmp_path / "run"
    assert read_ledger(run / "ledger.json").training_macs == sum(expected)
    logged = read_metrics(run / "metrics.jsonl")[TRAINING_MACS]
    assert logged.values.tolist() == [sum(expected[:step]) for step in range(1, STEPS + 1)]
    assert run_status(run).training_macs == sum(expected)
    row = json.loads(deps("status", run, "--json").stdout)[0]
    assert row["training_macs"] == sum(expected)

    # Steps that are trained again are counted again.
    newest = run / "checkpoints" / "step-000000032"
    for file in (newest.with_suffix(".json"), newest.with_suffix(".safetensors"), run / "supernet.safetensors"):
        file.unlink()
    (run / "supernet.json").unlink()
    processes.run(["-m", "pipeline.train", *recipe, "--resume"], world)
    assert read_ledger(run / "ledger.json").training_macs == sum(expected) + sum(expected[28:])


def test_runs_that_did_not_count_are_told_so(digits: Path, tmp_path: Path) -> None:
    recipe = [*small_run(digits, tmp_path), "name=run", "engine.name=single", "schedule.duration=16 steps"]
    processes.run(["-m", "pipeline.train", *recipe], 1)
    ledger = tmp_path / "run" / "ledger.json"
    content = json.loads(ledger.read_text())
    del content["checksum"], content["segments"][0]["training_macs"]
    ledger.write_text(json.dumps(content))
    assert read_ledger(ledger).training_macs is None
    assert run_status(tmp_path / "run").training_macs is None
    assert "not counted" in deps("status", tmp_path / "run").stdout


@pytest.mark.parametrize("network", [name for name in NETWORKS if name.endswith("_digits")])
def test_a_teacher_is_asked_once_a_step(network: str, tmp_path: Path) -> None:
    recipe = small_run(tmp_path, tmp_path)
    loaded = load_recipe(Path(recipe[0]), recipe[1:])
    space = build_space(named(network), 10)
    schedule = Schedule(loaded.schedule, space, 89, 0, loaded.loss)
    plan = schedule.at(STEPS - 1)
    taught = tuple(replace(slot, loss=SoftCrossEntropy("teacher", 1.0)) for slot in plan.slots)
    full = space.on_images(space.largest(), plan.resolution)
    teacher = sum(map(multiplications, layers(space, full)))
    assert training_macs(space, replace(plan, slots=taught)) == training_macs(space, plan) + teacher


def test_a_phase_is_told_by_the_mean_of_its_steps(tmp_path: Path) -> None:
    schedule = schedule_of(small_run(tmp_path, tmp_path))
    supernet = schedule.phases[2]
    counts = [by_hand(schedule, step) for step in range(SHRUNK, STEPS)]
    assert macs_per_image(supernet, schedule) == pytest.approx(sum(counts) / len(counts), rel=1e-12)
