"""The command `deps` as people use it: what it prints, and one clear line with exit code 2 or 1 where it cannot."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.checkpoints.checkpoint import load_best_checkpoint
from pipeline.files.json_file import read_json, write_json
from pipeline.recipe.reading import load_recipe
from pipeline.tracking.metrics import read_metrics
from tests.support.cheap_dry_runs import cheaply
from tests.support.command_line import deps, refused
from tests.support.processes import REPOSITORY, run, small_run, start

RECIPES = sorted((REPOSITORY / "recipes").glob("*.yaml"))
SANDWICH = "full + smallest + 2 random"
PHASES = {  # of each method, and what a step of each trains
    "deps": {"full model": "full", "ramp": SANDWICH, "supernet": SANDWICH},
    "ofa": {
        "teacher": "full",
        "kernel": "random",
        **dict.fromkeys(("depth 1", "depth 2"), "2 random"),
        **dict.fromkeys(("expand 1", "expand 2"), "4 random"),
    },
    "compofa": {"teacher": "full", "compound 1": "4 random", "compound 2": "4 random"},
    "bignas": {"supernet": SANDWICH},
    "alpha_net": {"supernet": "full + 2 random + smallest"},
    "attentive_nas": {"supernet": "full + 2 attentive + smallest"},
    "single": {"training": "full"},
}


def deps_process(*arguments: object, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own, started as its users do."""
    command = [sys.executable, "-c", "import deps_command; deps_command.main()", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=cwd, timeout=900)


@pytest.fixture(scope="module")
def finished(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained to its end, without MLflow."""
    runs = tmp_path_factory.mktemp("runs")
    run(["-m", "pipeline.train", *small_run(digits, runs), "engine={name: single}", "name=finished"], world=1)
    return runs / "finished"


def test_help_names_every_command_and_shows_an_example() -> None:
    top = deps_process("--help")
    assert top.returncode == 0
    commands = ("train", "describe", "evaluate", "predictor", "report", "weights", "sync", "plan", "submit", "status")
    for command in (*commands, "shards", "bench"):
        assert command in top.stdout
    for command in commands:
        assert "Example:" in deps(command, "--help").stdout


def test_describe_prints_published_sizes() -> None:
    done = deps("describe", "mobilenet_v3", "--depth", 2, "--expand", 3, "--kernel", 3, "--json")
    assert json.loads(done.stdout) == [{"subnet": "d2-k3-e3-r224", "macs": 121278672, "params": 3410792}]
    assert "566,170,656" in deps("describe", "mobilenet_v3").stdout
    assert json.loads(deps("describe", "mobilenet_v3", "--resolution", 160, "--json").stdout)[0]["macs"] == 291318048
    [*_, full] = json.loads(deps("describe", "proxyless", "--json").stdout)
    assert full["macs"] == 1_004_908_032  # at its own width, 1.3
    [*_, narrow] = json.loads(deps("describe", "proxyless", "--width", 1.0, "--json").stdout)
    assert narrow["params"] < full["params"] == 7_942_056
    by_text = deps("describe", "mobilenet_v3", "--subnet", "d3-k7-e4-r224", "--json")
    assert json.loads(by_text.stdout)[0]["macs"] == 289357376


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_dry_run_needs_no_data_and_tells_phases_subnets_and_cost(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheaply(monkeypatch)
    done = deps("train", recipe, "data.shards=nowhere", "engine={name: single}", "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["steps"] == found["phases"][-1]["end"]
    phases = {phase["name"]: phase["subnets"] for phase in found["phases"]}
    loaded = load_recipe(recipe)
    expected = dict(PHASES[loaded.schedule.name])
    if getattr(loaded.space, "kernels", ()) == (7,):
        expected.pop("kernel", None)  # there are no kernels to open
    if recipe.stem == "digits100_late_deps":
        expected = {phase: trained.replace("2 random", "random") for phase, trained in expected.items()}
    assert phases == expected
    assert found["subnets"][0]["name"] == "smallest"
    assert found["subnets"][-1]["name"] == "full"
    assert found["estimate"]["hours"] > 0
    assert found["estimate"]["unit"] == "CPU process hours"
    assert not list(tmp_path.iterdir())
    if recipe.stem == "imagenet1k_deps":
        assert (found["steps"], found["steps_per_epoch"]) == (270 * 625, 625)
        assert [phase["epochs"] for phase in found["phases"]] == [145, 5, 120]
        assert found["subnets"][-1]["macs"] == 566_170_656
    if recipe.stem == "imagenet1k_proxyless_deps":
        assert (found["steps"], found["steps_per_epoch"]) == (300 * 1251, 1251)
        assert [phase["epochs"] for phase in found["phases"]] == [145, 5, 150]
        assert found["subnets"][-1]["macs"] == 1_004_908_032


@pytest.mark.faults
def test_json_is_all_there_is_on_the_standard_output_of_the_default_engine_too(tmp_path: Path) -> None:
    done = deps_process(
        "train", RECIPES[0].with_name("digits.yaml"), "data.shards=nowhere", "--dry-run", "--json", cwd=tmp_path
    )
    assert json.loads(done.stdout)["name"] == "digits"


def test_evaluate_and_report_of_a_finished_run(finished: Path) -> None:
    rows = json.loads(deps("evaluate", finished, "--subnet", "d1.2-k3-e4-r32", "--json").stdout)
    assert [row["name"] for row in rows][:1] == ["smallest"]
    assert rows[-1]["subnet"] == "d1.2-k3-e4-r32"
    assert rows == json.loads((finished / "evaluation.json").read_text())["subnets"]
    assert {"subnet", "macs", "params", "top1", "top5", "loss"} <= rows[0].keys()
    assert [row["pareto"] for row in rows] == [True] * (len(rows) - 1) + [False]
    done = deps("report", finished)
    assert done.returncode == 0, done.stderr
    assert (finished / "report" / "report.html").exists()
    assert (finished / "report" / "report.md").exists()


def test_weights_are_those_of_the_newest_checkpoint_or_of_the_best(finished: Path, tmp_path: Path) -> None:
    done = deps("weights", finished, "--output", tmp_path / "newest")
    assert done.stdout.startswith("step 32: "), done.stderr
    for name in ("supernet.safetensors", "supernet.json"):
        assert (tmp_path / "newest" / name).read_bytes() == (finished / name).read_bytes()
    # No two checkpoints of a run have the same weights. Make an older one the best.
    copy = shutil.copytree(finished, tmp_path / "copy")
    described = sorted((copy / "checkpoints").glob("*.json"))
    assert len(described) > 1
    for path, accuracy in zip(described, [90.0, *[80.0] * len(described)], strict=False):
        write_json(path, {**read_json(path), "accuracy": accuracy})
    done = deps("weights", copy, "--best", "--output", tmp_path / "best")
    step = json.loads(described[0].read_text())["step"]
    assert done.stdout.startswith(f"step {step}: "), done.stderr
    stored = load_file(described[0].with_suffix(".safetensors"))
    best = load_file(tmp_path / "best" / "supernet.safetensors")
    assert best.keys() == load_file(finished / "supernet.safetensors").keys()
    assert all(torch.equal(tensor, stored[f"weights/{name}"]) for name, tensor in best.items())
    os.truncate(described[0].with_suffix(".safetensors"), 1000)
    assert "leave out --best to take the newest" in refused(deps("weights", copy, "--best", "--output", tmp_path), 1)


def test_weights_of_a_checkpoint_do_not_pass_for_those_of_a_finished_run(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "stopped")
    (run / "supernet.safetensors").unlink()
    assert "is the run's own folder" in refused(deps("weights", run, "--output", "stopped/.", cwd=tmp_path))
    assert not (run / "supernet.safetensors").exists()


def test_a_run_is_not_evaluated_on_another_data_set(finished: Path, digits: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    _digest, config = (copy / "config.yaml").read_text().split("\n", 1)  # changed on purpose
    other = tmp_path / "other"
    assert deps("shards", "pack", "digits100", other, "--train", 100, "--test", 100).returncode == 0
    (copy / "config.yaml").write_text(config.replace(str(digits), str(other)))
    assert "is not the data set that" in refused(deps("evaluate", copy))


def test_a_torn_supernet_is_named_with_what_to_do(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "copy")
    os.truncate(copy / "supernet.safetensors", 1000)
    assert "supernet.safetensors: cannot be loaded" in refused(deps("evaluate", copy), code=1)
    (copy / "supernet.json").write_text("5")
    assert "supernet.json: cannot be loaded" in refused(deps("evaluate", copy), code=1)


def test_a_run_trains_with_all_of_augmentation(digits: Path, tmp_path: Path) -> None:
    augmentation = (
        "data.augmentation={crop: padded, padding: 3, auto_augment: cifar10, colour_jitter: [0.4, 0.4, 0.4, 0.1], "
        "random_erasing: {probability: 0.2}, mixup: 0.1, cutmix: 0.1}"
    )
    arguments = [*small_run(digits, tmp_path), "engine={name: single}", augmentation, "name=varied"]
    run(["-m", "pipeline.train", *arguments], world=1)
    logged = [json.loads(line)["metrics"] for line in (tmp_path / "varied" / "metrics.jsonl").read_text().splitlines()]
    assert len(logged) == 32
    assert all(2 < metrics["loss/full"] < 3 for metrics in logged), "that of a network that knows nothing yet"
    assert any(metrics["acc/train"] > 0 for metrics in logged)
    # A run under way cannot be continued with other images.
    done = deps("train", *arguments[:-2], "data.augmentation={crop: none}", "name=varied", "--resume")
    assert "was begun with data.augmentation" in refused(done)


def test_training_twice_into_one_folder_is_refused_and_nothing_is_lost(finished: Path, digits: Path) -> None:
    before = (finished / "metrics.jsonl").read_bytes()
    done = deps("train", *small_run(digits, finished.parent), "engine={name: single}", "name=finished")
    assert "is not empty; continue its run with --resume" in refused(done)
    assert (finished / "metrics.jsonl").read_bytes() == before


def test_resuming_a_finished_run_does_nothing_and_succeeds(finished: Path, digits: Path) -> None:
    before = (finished / "supernet.safetensors").read_bytes()
    done = deps("train", *small_run(digits, finished.parent), "engine={name: single}", "name=finished", "--resume")
    assert done.returncode == 0, done.stderr
    assert (finished / "supernet.safetensors").read_bytes() == before


BAD_INPUT = [
    (["schedule.epsilon_rampp=0"], "unknown key where name is 'deps'; did you mean 'epsilon_ramp'?"),
    (["loss.soft={name: beta}"], "loss.soft.name: input should be 'cross_entropy' or 'alpha', not 'beta'"),
    (["schedule.sampling={name: best}"], "schedule.sampling.name: input should be 'uniform' or 'attentive'"),
    (
        ["optimizer={gradient_clip: 1, gradient_clip_value: 1}"],
        "optimizer: gradient_clip_value: cannot be had with gradient_clip, which clips by the norm",
    ),
    (["batch_size=many"], "batch_size: input should be a valid integer"),
    (["data.shards=nowhere"], "nowhere"),
    (["space.classes=7"], "space.classes: the recipe says 7, the data set has 10 classes"),
    (["train_samples=5"], "train_samples: the recipe says 5, "),
    (["batch_size=5000"], "batch_size: 5000 is more than the 1438 training samples"),
    (["batch_size=15", "data.augmentation.mixup=0.2"], "each needs an even number of them; 15 over 1 is 15"),
    (
        ["data.augmentation.colour_jitter=[0.4, 0.4, 0.4, 0.6]"],
        "data.augmentation: colour_jitter: [0.4, 0.4, 0.4, 0.6]",
    ),
    (["log_every=0.001 epochs"], "log_every: '0.001 epochs': is less than one step (89 steps are an epoch)"),
    (["checkpoint.every=1%"], "checkpoint.every: '1%': is less than one step"),
    (["tracking.experiment=''"], "tracking.experiment: string should have at least 1 character"),
    ([f"name={'x' * 300}"], "File name too long; choose another name=…"),
    (["schedule.epsilon_ramp=20 steps"], "schedule.epsilon_ramp: '20 steps' is 20 steps, and does not fit"),
    (["space.resolutions=[8]", "batch_size=1"], "leaves batch norm a single value"),
    (["runs=/proc/nowhere"], "cannot be written"),
    (
        ["engine={name: deepspeed, deepspeed: {zero_optimization: {reduce_bucket_size: some}}}"],
        "engine.deepspeed: DeepSpeed cannot read it: 1 validation error for DeepSpeedZeroConfig reduce_bucket_size",
    ),
    pytest.param(
        ["engine={name: deepspeed, deepspeed: {wandb: {enabled: true}}}"],
        "engine.deepspeed.wandb: wandb is not installed; pip install wandb",
        marks=pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed here"),
    ),
    (["engine.zero_stage=1"], "engine.zero_stage: unknown key where name is 'single'; legal keys: lost_after, name"),
]


def test_a_refusal_of_a_process_is_one_line_and_exit_code_2(digits: Path, tmp_path: Path) -> None:
    done = deps_process("train", *small_run(digits, tmp_path), "engine={name: single}", "batch_size=5000")
    assert refused(done) == "deps: batch_size: 5000 is more than the 1438 training samples"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("overrides", "complaint"), BAD_INPUT, ids=lambda value: value[0][:40])
def test_bad_input_is_one_line_and_exit_code_2(
    overrides: list[str], complaint: str, digits: Path, tmp_path: Path
) -> None:
    done = deps("train", *small_run(digits, tmp_path), "engine={name: single}", *overrides)
    assert complaint in refused(done)
    assert not list(tmp_path.iterdir()), "nothing was written"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["train", "nowhere.yaml"], "recipe nowhere.yaml: No such file"),
        (["evaluate", "nowhere"], "nowhere: is no run folder"),
        (["report", "nowhere"], "nowhere"),
        (["weights", "nowhere", "--output", "out"], "nowhere"),
        (["report", "a", "b"], "--output: is needed for a report of several runs"),
        (["sync", "nowhere"], "nowhere"),
        (["describe", "resnet"], "networks: mobilenet_v3, "),
        (["describe", "resnet50", "--width", "0.8"], "space.width: network 'resnet50' has no such key; legal keys: "),
        (["describe", "mobilenet_v3", "--depth", "7"], "depth 7 is none of [2, 3, 4]"),
        (["describe", "mobilenet_v3", "--depth", "0"], "'0' is no whole number from 1 to 99"),
        (["describe", "mobilenet_v3", "--resolution", "0"], "'0' is no whole number from 1 to 4096"),
        (["shards", "pack", "mnist", "out"], "mnist"),
        (["shards", "verify", "nowhere"], "nowhere"),
    ],
)
def test_commands_refuse_what_is_not_there(arguments: list[str], complaint: str) -> None:
    assert complaint in refused(deps(*arguments))


def test_a_shard_damaged_before_training_is_named(digits: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(digits, tmp_path / "broken")
    shard = next((broken / "train").glob("*.tar"))
    os.truncate(shard, shard.stat().st_size // 2)
    done = deps("train", *small_run(broken, tmp_path), "engine={name: single}", "name=x")
    assert shard.name in refused(done, code=1)


def test_a_sample_damaged_in_mid_run_is_named_and_the_steps_before_it_are_saved(digits: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(digits, tmp_path / "broken")
    for shard in (broken / "train").glob("*.tar"):
        content = bytearray(shard.read_bytes())
        # One byte in ten thousand: some sample of an early batch is hit, and its checksum differs.
        content[5_000::10_000] = bytes(byte ^ 1 for byte in content[5_000::10_000])
        shard.write_bytes(content)
    arguments = [*small_run(broken, tmp_path), "engine={name: single}", "data.workers=1", "name=hit"]
    done = deps("train", *arguments)
    assert done.returncode == 1, done.stderr
    line = done.stderr.splitlines()[-1]
    assert ".tar: sample 0" in line
    assert " at byte " in line
    assert "Traceback" not in done.stderr
    steps = json.loads(max((tmp_path / "hit" / "checkpoints").glob("*.json")).read_text())["step"]
    logged = [json.loads(row)["step"] for row in (tmp_path / "hit" / "metrics.jsonl").read_text().splitlines()]
    assert max(logged, default=0) == steps


@pytest.mark.distributed
@pytest.mark.parametrize("world", [1, 2])
def test_damage_met_while_evaluating_is_named_once_and_costs_neither_steps_nor_the_evaluation(
    world: int, digits: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(digits, tmp_path / "broken")
    shard = next((broken / "test").glob("*.tar"))
    content = bytearray(shard.read_bytes())
    content[3_000:6_000] = bytes(byte ^ 1 for byte in content[3_000:6_000])
    shard.write_bytes(content)
    engine = "{name: single}" if world == 1 else "{name: ddp}"
    arguments = [*small_run(broken, tmp_path), f"engine={engine}", "name=hit", "checkpoint.every=100 steps"]
    processes = start(["-m", "pipeline.train", *arguments], world)
    outputs = [process.communicate(timeout=900)[0] for process in processes]
    assert [process.returncode for process in processes] == [1] * world
    assert "".join(outputs).count(f"{shard.name}: sample ") == 1
    assert "Traceback" not in "".join(outputs)
    assert [path.name for path in (tmp_path / "hit" / "checkpoints").glob("*.json")] == ["step-000000016.json"]

    shutil.copy(digits / "test" / shard.name, shard)
    run(["-m", "pipeline.train", *arguments, "--resume"], world)
    for metric in ("acc/full", "acc/smallest"):
        assert read_metrics(tmp_path / "hit" / "metrics.jsonl")[metric].steps.tolist() == [16, 32]
    assert load_best_checkpoint(tmp_path / "hit", []).accuracy is not None


def test_a_lost_ledger_is_restored_from_the_checkpoint(finished: Path, digits: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "finished")
    ledger = tmp_path / "finished" / "ledger.json"
    newest = max((tmp_path / "finished" / "checkpoints").glob("*.json"))
    before = json.loads(newest.read_text())["ledger"]["segments"]
    ledger.unlink()
    done = deps("train", *small_run(digits, tmp_path), "engine={name: single}", "name=finished", "--resume")
    assert done.returncode == 0, done.stderr
    *restored, _ = json.loads(ledger.read_text())["segments"]
    assert restored == before


def test_kernels_that_cannot_be_had_are_refused_with_those_that_can(digits: Path, tmp_path: Path) -> None:
    done = deps("train", *small_run(digits, tmp_path), "engine={name: single}", "kernels=triton")
    message = refused(done)
    assert "kernels: 'triton' cannot be had: Triton's kernels need a CUDA device, not cpu; legal here: auto" in message
    assert "kernels: input should be 'auto', 'triton', 'cpu' or 'reference'" in refused(
        deps("train", *small_run(digits, tmp_path), "kernels=fast")
    )


def test_cuda_graphs_and_apex_without_a_gpu_are_refused(digits: Path, tmp_path: Path) -> None:
    small = small_run(digits, tmp_path)
    done = deps("train", *small, "engine={name: single}", "model={cuda_graphs: true}")
    assert "model.cuda_graphs: needs a CUDA device, not cpu; set it to false" in refused(done)
    done = deps("train", *small, "engine={name: single}", "optimizer.implementation=apex")
    assert "optimizer.implementation: 'apex' needs a CUDA device, not cpu; legal here: torch" in refused(done)
