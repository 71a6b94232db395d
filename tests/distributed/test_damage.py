"""Damage that a run meets: all processes leave with one line and exit code 1, or skip it together, counted and told."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from data_shards.sampler import EpochSampler
from data_shards.store.index import open_split
from pipeline.tracking.metrics import read_metrics
from tests.support.processes import small_run, start

pytestmark = pytest.mark.distributed

# Shown at steps 3, 9 and 20; of two processes, by the first one, the second, the second.
_SAMPLER = EpochSampler(samples=1438, batch=16, seed=0)
DAMAGED = [int(_SAMPLER.ids(step)[place]) for step, place in ((3, 2), (9, 12), (20, 15))]


@pytest.fixture
def damaged(digits: Path, tmp_path: Path) -> Path:
    """The digits with three unreadable training samples."""
    root = shutil.copytree(digits, tmp_path / "digits")
    index = open_split(root, "train").index
    for sample in DAMAGED:
        with (root / "train" / "train-000000.tar").open("r+b") as shard:
            shard.seek(int(index[sample]["offset"]) + 30)
            shard.write(bytes(16))
    return root


def train(root: Path, runs: Path, name: str, world: int, *overrides: str) -> tuple[list[int], str]:
    """Exit codes, and all that was said. One process reads ahead, several do not: damage is the same to both."""
    arguments = [*small_run(root, runs), "evaluation.every=32 steps", "checkpoint.every=16 steps"]
    arguments.append(f"data.workers={int(world == 1)}")
    engine = "engine={name: single}" if world == 1 else "engine={name: ddp}"
    started = start(["-m", "pipeline.train", *arguments, engine, f"name={name}", *overrides, "--resume"], world)
    said = "".join(process.communicate(timeout=900)[0] for process in started)
    return [process.returncode for process in started], said


def saved(folder: Path) -> list[int]:
    return [int(path.stem.removeprefix("step-")) for path in sorted((folder / "checkpoints").glob("step-*.json"))]


def test_damage_ends_all_processes_with_one_line_and_the_steps_done_are_saved(damaged: Path, tmp_path: Path) -> None:
    codes, said = train(damaged, tmp_path, "failed", 2)
    assert codes == [1, 1], said
    assert "Traceback" not in said
    told = [line for line in said.splitlines() if line.startswith("pipeline.train:")]
    assert len(told) == 1
    assert f"{damaged}/train/train-000000.tar: sample {DAMAGED[0]:09d} at byte " in told[0]
    assert "CRC-32 differs" in told[0]
    assert saved(tmp_path / "failed") == [3]
    # The same run goes on by skipping.
    codes, said = train(damaged, tmp_path, "failed", 2, "data.on_corrupt=skip", "data.max_corrupt=0.01")
    assert codes == [0, 0], said
    assert "continuing at step 3" in said


@pytest.mark.parametrize("world", [1, 2])
def test_damage_that_an_evaluation_meets_costs_no_row_of_metrics(digits: Path, tmp_path: Path, world: int) -> None:
    root = shutil.copytree(digits, tmp_path / "digits")
    sample = open_split(root, "test").index[5]
    with (root / "test" / "test-000000.tar").open("r+b") as shard:
        shard.seek(int(sample["offset"]) + 30)
        shard.write(bytes(16))
    codes, said = train(root, tmp_path, "evaluated", world, "evaluation.every=8 steps", "log_every=5 steps")
    assert codes == [1] * world, said
    assert "test/test-000000.tar: sample 000000005 at byte " in said
    assert saved(tmp_path / "evaluated") == [8]
    metrics = read_metrics(tmp_path / "evaluated" / "metrics.jsonl")
    assert metrics["loss/full"].steps.tolist() == [5, 8]


def test_damage_found_at_the_start_is_told_once(damaged: Path, tmp_path: Path) -> None:
    (damaged / "test" / "index.npy").write_bytes(b"")
    codes, said = train(damaged, tmp_path, "refused", 2)
    assert codes == [1, 1], said
    assert said.count("pipeline.train: ") == 1
    assert "test/index.npy: is not a whole index" in said


def test_skipped_samples_are_the_same_and_told_at_any_world_size(damaged: Path, tmp_path: Path) -> None:
    records = []
    for world in (1, 2):
        name = f"world{world}"
        codes, said = train(damaged, tmp_path, name, world, "data.on_corrupt=skip", "data.max_corrupt=0.0021")
        assert codes == [0] * world, said
        assert said.count("skipped, and others after it in this shard are only counted") == 1, "once per shard"
        assert "3 of 1438 samples found damaged: 3 in train-000000.tar; others were shown in their place" in said
        folder = tmp_path / name
        rows = [json.loads(line)["metrics"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        counts = [row["data/skipped"] for row in rows]
        assert counts == [0] * 3 + [1] * 6 + [2] * 11 + [3] * 12
        records.append((counts, json.loads((folder / "damage.json").read_text())))
    assert records[0] == records[1], "the same damage met at the same steps"
    assert list(records[0][1]["shards"]["train-000000.tar"]) == [f"{sample:09d}" for sample in sorted(DAMAGED)]
    alone, together = (load_file(tmp_path / name / "supernet.safetensors") for name in ("world1", "world2"))
    assert alone.keys() == together.keys()
    assert all(torch.isfinite(tensor).all() for tensor in together.values())


def test_more_damage_than_allowed_ends_all_processes_and_every_start_after(damaged: Path, tmp_path: Path) -> None:
    skip = ("data.on_corrupt=skip", "data.max_corrupt=0.0014")  # two of 1438
    codes, said = train(damaged, tmp_path, "bounded", 2, *skip)
    assert codes == [1, 1], said
    told = [line for line in said.splitlines() if line.startswith("pipeline.train:")]
    assert len(told) == 1
    counts = "3 of 1438 samples found damaged: 3 in train-000000.tar, more than the 2 that max_corrupt allows"
    assert counts in told[0]
    assert saved(tmp_path / "bounded") == [16, 20]
    codes, said = train(damaged, tmp_path, "bounded", 2, *skip)
    assert codes == [1, 1], said
    assert counts in said
    assert "restore the shards and delete" in said
