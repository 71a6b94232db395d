"""`deps finetune`: one subnet of a trained run, trained further as a run of its own; its gain, measured once."""

import json
import re
import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from data_shards.augmentation.normalise import normalise
from data_shards.open_data import open_data
from data_shards.packing.pack import pack
from data_shards.sources.digits import Digits
from pipeline.evaluation.evaluate import Evaluator
from pipeline.experiment import prepare
from pipeline.methods.learning_rate import learning_rate
from pipeline.processes.group import Processes
from pipeline.run.folder import read_recipe
from pipeline.supernet.extract import extract
from pipeline.supernet.store import load_supernet
from pipeline.tracking.metrics import read_metrics
from pipeline.tracking.mlflow import TrackingConfig, child_of
from pipeline.tracking.mlflow_run import place_of
from pipeline.tracking.shipment import State
from pipeline.training.trainer import Trainer
from tests.support import processes as launched
from tests.support.command_line import deps, refused
from tests.support.processes import small_run

KEPT = 150
SUBNET = "d1-k5-e3-r32"
# Two evaluations and checkpoints in 8 steps.
SHORT = ("schedule.duration=8 steps", "evaluation.every=4 steps", "checkpoint.every=4 steps")
ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    keys = ["name=run", "engine.name=single", f"data.validation_samples={KEPT}"]
    done = deps("train", *small_run(digits, runs), *keys)
    assert done.returncode == 0, done.stderr
    return runs / "run"


@pytest.fixture(scope="module")
def unbroken(trained: Path) -> dict[str, Any]:
    """What a fine-tuning came to that nothing ended."""
    return finetuned(trained, "name=unbroken")


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def finetuned(run: Path, *arguments: str) -> dict[str, Any]:
    done = deps("finetune", run, "--subnet", SUBNET, *SHORT, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "supernet.safetensors")


def test_its_figures_are_those_of_the_subnet_in_both_supernets(trained: Path, unbroken: dict[str, Any]) -> None:
    folder = trained.parent / "unbroken"
    assert unbroken["folder"] == str(folder)
    kept = json.loads((folder / "finetuning.json").read_text())
    assert {**unbroken, "checksum": kept["checksum"]} == kept
    recipe = read_recipe(folder)
    assert recipe.space.resolutions == (32,), "it is trained at its own resolution alone"
    data = open_data(recipe.data)
    assert data.validation is not None
    for images, split in (("validation", data.validation), ("test", data.test)):
        evaluator = Evaluator(data.train, split, recipe.data, recipe.evaluation, ALONE)
        for when, where in (("before", trained), ("after", folder)):
            supernet = load_supernet(where)
            top1 = evaluator.subnet(supernet, supernet.space.parse(SUBNET)).top1
            assert unbroken[when][f"{images}_top1"] == top1
        gain = unbroken["after"][f"{images}_top1"] - unbroken["before"][f"{images}_top1"]
        assert unbroken["gain"][f"{images}_top1"] == pytest.approx(gain)
    [row] = json.loads((folder / "evaluation.json").read_text())["subnets"]
    assert (row["subnet"], row["top1"]) == (SUBNET, unbroken["after"]["test_top1"])


def test_it_is_a_run_that_is_measured_by_its_subnet_alone(
    trained: Path, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    folder = shutil.copytree(trained.parent / "unbroken", tmp_path / "run")
    metrics = read_metrics(folder / "metrics.jsonl")
    assert {name for name in metrics if name.startswith("acc/")} == {"acc/subnet"}
    [row] = json.loads(deps("evaluate", folder, "--json").stdout)
    assert (row["name"], row["subnet"], row["top1"]) == ("subnet", SUBNET, unbroken["after"]["test_top1"])
    assert deps("report", folder, "--output", tmp_path / "report").returncode == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert re.search(rf"\| {re.escape(SUBNET)} .*{row['top1']:.2f}", text)


def test_it_leaves_the_weights_that_were_best_on_validation_images(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, subnets, evaluations = trained.parent / "best", Evaluator.subnets, count()

    def worse_and_worse(self, supernet, chosen):
        return [replace(each, top1=90.0 - next(evaluations)) for each in subnets(self, supernet, chosen)]

    monkeypatch.setattr(Evaluator, "subnets", worse_and_worse)
    finetuned(trained, "name=best")
    accuracies = read_metrics(folder / "metrics.jsonl")["acc/subnet"]
    best = int(accuracies.steps[accuracies.values.argmax()])
    assert best < 8, "else this tests nothing"
    checkpoint = load_file(folder / "checkpoints" / f"step-{best:09d}.safetensors")
    for name, tensor in weights(folder).items():
        assert torch.equal(tensor, checkpoint[f"weights/{name}"]), name


@pytest.mark.parametrize("taught", [False, True])
def test_it_is_plain_training_of_the_extracted_network(taught: bool, trained: Path) -> None:
    name, keys = f"plain-{taught}", ["data.augmentation.crop=none", "model.end=last"]
    finetuned(trained, f"name={name}", *keys, *(["--teacher"] if taught else []))
    recipe = read_recipe(trained.parent / name)
    supernet, space = load_supernet(trained), load_supernet(trained).space
    # Kernels of the greatest size, whose weights are the supernet's own; smaller ones go through a matrix.
    network, full = (extract(supernet, subnet).train() for subnet in (space.parse(SUBNET), space.largest()))
    experiment = prepare(recipe)
    rate = learning_rate(recipe.schedule.learning_rate, experiment.schedule.steps_per_epoch, 8)
    config = recipe.optimizer
    groups = [
        {"params": [each for each in network.parameters() if each.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [each for each in network.parameters() if each.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.SGD(groups, lr=0.0, momentum=config.momentum, nesterov=config.nesterov)
    for step, batch in enumerate(experiment.loader(recipe.data, 0, ALONE)):
        images = normalise(batch.images)
        logits = network(images)
        loss = F.cross_entropy(logits, batch.labels, label_smoothing=recipe.loss.label_smoothing)
        if taught:
            with torch.no_grad():
                soft = full(images).softmax(1)
            loss = loss - (soft * logits.log_softmax(1)).sum(1).mean()
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = load_supernet(trained.parent / name)
    found = dict(extract(after, after.space.parse(SUBNET)).named_parameters())
    for part, tensor in network.named_parameters():
        torch.testing.assert_close(found[part], tensor, rtol=1e-4, atol=1e-5, msg=part)


def test_killed_it_goes_on_to_the_same_weights_and_its_figures_are_measured_once(
    trained: Path, unbroken: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    after_step, subnet = Trainer._after_step, Evaluator.subnet
    measured = []

    def killing(self: Trainer) -> None:
        after_step(self)
        if self.counters.step == 6:
            raise KeyboardInterrupt

    def noting(self, supernet, chosen):
        measured.append(len(self._held_out))
        return subnet(self, supernet, chosen)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_after_step", killing)
        assert deps("finetune", trained, "--subnet", SUBNET, *SHORT, "name=killed").returncode == 130
    folder = trained.parent / "killed"
    assert not (folder / "finetuning.json").exists()
    assert "is not empty" in refused(deps("finetune", trained, "--subnet", SUBNET, *SHORT, "name=killed"))
    monkeypatch.setattr(Evaluator, "subnet", noting)
    found = finetuned(trained, "name=killed", "--resume")
    assert {**found, "folder": None} == {**unbroken, "folder": None}
    test_images = found["test_images"]
    assert measured.count(test_images) == 2
    assert finetuned(trained, "name=killed", "--resume") == found
    assert measured.count(test_images) == 2


@pytest.mark.distributed
def test_two_processes_train_and_measure_it_together(trained: Path) -> None:
    program = "import deps_command; deps_command.main()"
    arguments = ["finetune", str(trained), "--subnet", SUBNET, *SHORT, "name=two", "engine={name: ddp}", "--json"]
    main, other = launched.run(["-c", program, *arguments], 2)
    assert '"gain"' in main
    assert '"gain"' not in other
    folder = trained.parent / "two"
    kept = json.loads((folder / "finetuning.json").read_text())
    [row] = json.loads(deps("evaluate", folder, "--json").stdout)
    assert kept["after"]["test_top1"] == pytest.approx(row["top1"])
    assert kept["before"] != kept["after"]


def test_without_validation_images_it_leaves_the_last_weights(digits: Path, tmp_path: Path) -> None:
    keys = ["name=run", "engine.name=single", "schedule.duration=24 steps"]
    assert deps("train", *small_run(digits, tmp_path), *keys).returncode == 0
    done = deps("finetune", tmp_path / "run", "--subnet", SUBNET, *SHORT)
    assert done.returncode == 0, done.stderr
    assert "validation top-1" not in done.stdout
    assert read_recipe(tmp_path / f"run-{SUBNET}").model.end == "last"


@pytest.mark.parametrize(
    ("subnet", "keys", "complaint"),
    [
        ("d9-k5-e3-r32", [], "--subnet: stage 1: depth 9 is none of [1, 2]"),
        ("small", [], "--subnet: 'small' is no subnet"),
        (SUBNET, ["schedule.duratoin=1 epochs"], "schedule.duratoin: unknown key where name is 'single'"),
        (SUBNET, ["schedule.name=deps"], "override schedule.name: is single where"),
        (SUBNET, [f"schedule.subnet={SUBNET.replace('d1', 'd2')}"], f"override schedule.subnet: is {SUBNET} where"),
        (SUBNET, ["space.depths=[1]"], "override space.depths: is [] where"),
        (SUBNET, ["model.start=elsewhere"], "override model.start: is "),
        (SUBNET, ["data.validation_samples=100"], "override data.validation_samples: is 150 where"),
        (SUBNET, ["loss.soft={name: alpha}"], "loss.soft: alpha is for subnets that learn from soft labels"),
        (SUBNET, ["checkpoint.keep_best=false"], "model.end: best needs"),
        (SUBNET, ["epochs"], "override 'epochs': must be key=value"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line_before_anything_is_written(
    subnet: str, keys: list[str], complaint: str, run: Path
) -> None:
    assert complaint in refused(deps("finetune", run, "--subnet", subnet, *keys))
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_other_data_and_unfinished_runs_are_refused(run: Path) -> None:
    other = run.parent / "other"
    pack(Digits(), other, samples_per_shard=100)
    line = refused(deps("finetune", run, "--subnet", SUBNET, f"data.shards={other}"))
    assert f"data.shards: {other} is not the data set that {run} was begun on" in line
    assert "is no run folder" in refused(deps("finetune", run / "checkpoints", "--subnet", SUBNET))
    (run / "supernet.safetensors").unlink()
    assert "a run writes it at its end" in refused(deps("finetune", run, "--subnet", SUBNET))


def test_mlflow_shows_it_under_the_run_that_it_begins_with(tmp_path: Path) -> None:
    config = TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db")
    assert child_of(tmp_path, config) == {}, "of what was never tracked, nothing is known"
    State(place_of(config.uri).uri, "once-for-all", run_id="abc").save(tmp_path)
    assert child_of(tmp_path, config) == {"mlflow.parentRunId": "abc"}
    assert child_of(tmp_path, TrackingConfig(uri="http://elsewhere")) == {}
