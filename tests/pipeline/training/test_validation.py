"""A run with validation images: chosen on in training, never trained on, with the test split left alone."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from data_shards.errors import ShardDamage
from data_shards.open_data import open_data, validation_ids
from data_shards.store.index import open_split
from pipeline.errors import UsageError
from pipeline.evaluation.evaluate import Evaluator
from pipeline.experiment import prepare
from pipeline.forecast.dry_run import schedule_without_data
from pipeline.processes.group import Processes
from pipeline.run.description import read_description
from pipeline.tracking.metrics import read_metrics
from tests.support import processes as launched
from tests.support.command_line import deps, refused
from tests.support.processes import small_run
from tests.support.trainers import digits_recipe, digits_trainer

KEPT = 150
ALONE = Processes(0, 1, torch.device("cpu"))


def trained(digits: Path, folder: Path, *overrides: str, world: int = 1) -> list[str]:
    keys = ["name=run", f"data.validation_samples={KEPT}", "engine.name=single" if world == 1 else "engine.name=ddp"]
    return launched.run(["-m", "pipeline.train", *small_run(digits, folder), *keys, *overrides], world)


def damage_all(root: Path, split: str) -> None:
    opened = open_split(root, split)
    for shard in opened.entry.shards:
        path = root / split / shard.name
        path.write_bytes(bytes(path.stat().st_size))


def test_the_test_split_is_not_read_before_results_are_reported(digits: Path, tmp_path: Path) -> None:
    root = shutil.copytree(digits, tmp_path / "digits")
    damage_all(root, "test")
    output = trained(root, tmp_path / "runs")[0]
    assert f"accuracy in training is of {KEPT} validation images" in output
    assert "validation" in output.splitlines()[-2], "where the progress tells the accuracy"
    assert read_description(tmp_path / "runs" / "run").held_out == "validation"
    assert "test-000000" in refused(deps("evaluate", tmp_path / "runs" / "run"), 1)
    done = deps("evaluate", tmp_path / "runs" / "run", "--validation", "--json")
    assert done.returncode == 0, "its images are whole"
    [smallest, *_] = json.loads(done.stdout)
    # As the run measured it last: both recalibrate on the same images, and count the same ones.
    last = read_metrics(tmp_path / "runs" / "run" / "metrics.jsonl")["acc/smallest"].values[-1]
    assert (smallest["name"], smallest["top1"]) == ("smallest", pytest.approx(last))
    assert not (tmp_path / "runs" / "run" / "evaluation.json").exists()
    shutil.rmtree(root / "test")
    shutil.copytree(digits / "test", root / "test")
    assert deps("evaluate", tmp_path / "runs" / "run").returncode == 0


def test_all_validation_images_are_evaluated_and_none_recalibrates(digits: Path, tmp_path: Path) -> None:
    recipe = digits_recipe(digits, tmp_path, f"data.validation_samples={KEPT}")
    trainer, _ = digits_trainer(recipe, ALONE)
    supernet = trainer.engine.whole_supernet()
    assert trainer.figures.evaluator.full_model(supernet).samples == KEPT

    root = shutil.copytree(digits, tmp_path / "damaged")
    whole = open_split(root, "train")
    for sample in validation_ids(len(whole), KEPT):
        row = whole.index[sample]
        with open(whole.place(int(row["shard"])), "r+b") as shard:
            shard.seek(int(row["offset"]) + 20)
            shard.write(bytes(8))
    damaged = recipe.data.model_copy(update={"shards": root})
    train, validation, test = open_data(damaged)
    assert validation is not None
    config = recipe.evaluation.model_copy(update={"recalibration_samples": len(train)})
    found = Evaluator(train, test, damaged, config, ALONE).subnet(supernet, supernet.space.smallest())
    assert found.samples == len(test)
    with pytest.raises(ShardDamage):
        Evaluator(train, validation, damaged, config, ALONE).subnet(supernet, supernet.space.smallest())


@pytest.mark.parametrize("world", [2, 3])
def test_processes_together_count_the_same_images(digits: Path, tmp_path: Path, world: int) -> None:
    trained(digits, tmp_path, "batch_size=18", world=world)
    description = read_description(tmp_path / "run")
    packed = len(open_split(digits, "train"))
    assert description.steps_per_epoch == (packed - KEPT) // 18
    assert description.validation_samples == KEPT


def test_a_run_without_validation_images_is_not_evaluated_on_any(digits: Path, tmp_path: Path) -> None:
    trained(digits, tmp_path, "data.validation_samples=0", "schedule.duration=16 steps")
    told = refused(deps("evaluate", tmp_path / "run", "--validation"))
    assert told.endswith("was trained on all images: data.validation_samples is 0")


def test_a_run_goes_on_with_the_same_validation_images_only(digits: Path, tmp_path: Path) -> None:
    trained(digits, tmp_path, "schedule.duration=16 steps")
    again = [*small_run(digits, tmp_path), "name=run", "engine.name=single", "schedule.duration=16 steps", "--resume"]
    line = refused(deps("train", *again, "data.validation_samples=151"))
    assert "was begun with data.validation_samples=150, not 151" in line


def test_batches_are_of_what_is_left(digits: Path, tmp_path: Path) -> None:
    packed = len(open_split(digits, "train"))
    keys = [f"train_samples={packed}", f"data.validation_samples={packed - 20}"]
    assert prepare(digits_recipe(digits, tmp_path, *keys)).schedule.steps_per_epoch == 1
    with pytest.raises(UsageError, match=rf"batch_size: 21 is more than the 20 training samples \({packed} less"):
        prepare(digits_recipe(digits, tmp_path, *keys, "batch_size=21"))
    without = digits_recipe(tmp_path / "nowhere", tmp_path, *keys, "space.classes=10")
    assert schedule_without_data(without).steps_per_epoch == 1
