"""SIGKILL to `deps search`, `latency build`, `finetune` and `export`: called again, they come to the same."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.latency.table import read_table
from tests.support.command_line import deps
from tests.support.forked_program import REPOSITORY
from tests.support.processes import small_run

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

RANDOM = random.SystemRandom()
SUBNET = "d1-k5-e3-r32"


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    keys = ["name=run", "engine.name=single", "data.validation_samples=150"]
    done = deps("train", *small_run(digits, runs), *keys)
    assert done.returncode == 0, done.stderr
    return runs / "run"


def started(*arguments: object) -> subprocess.Popen[str]:
    """`deps ARGUMENTS…` as a person starts it; the leader of a group of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "deps_command", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, start_new_session=True, stderr=subprocess.PIPE, text=True
    )


def finish(*arguments: object) -> str:
    """To the end; what was said."""
    process = started(*arguments)
    said = process.communicate(timeout=1200)[1]
    assert process.returncode == 0, said
    return said


def kill_once(reached: Callable[[], bool], *arguments: object) -> None:
    """Start the command, and send SIGKILL to all of it as soon as it has got so far."""
    process = started(*arguments)
    deadline = time.monotonic() + 1200
    while not reached():
        assert time.monotonic() < deadline, "it does not get so far"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def content(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    del found["checksum"]
    return found


def test_a_search_that_is_killed_again_and_again_finds_the_same_and_measures_nothing_twice(
    trained: Path, tmp_path: Path
) -> None:
    asked = ("--evaluations", 60, "--limit", "macs=1.5M", "--seed", 3)
    whole, broken = (shutil.copytree(trained, tmp_path / name) for name in ("whole", "broken"))
    finish("search", whole, *asked)
    kept = broken / "search" / "evaluations.jsonl"
    for share in (1, 17, 33, 59):
        kill_once(lambda share=share: lines(kept) >= share, "search", broken, *asked)
        assert not (broken / "search" / "front.json").exists()
    finish("search", broken, *asked)
    assert content(broken / "search" / "front.json") == content(whole / "search" / "front.json")
    assert sorted(kept.read_text().splitlines()) == sorted((whole / "search" / kept.name).read_text().splitlines())


def test_a_latency_table_that_is_killed_goes_on_with_its_rounds(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    rounds = tmp_path / "table.json.rounds"
    asked = ("latency", "build", "mobilenet_v3_digits", "--output", table)
    before = b""
    for more in (1, 5, 9):
        so_far = lines(rounds)
        kill_once(lambda wanted=so_far + more: lines(rounds) >= wanted, *asked)
        assert not table.exists()
        assert rounds.read_bytes().startswith(before), "rounds are kept as they come"
        before = rounds.read_bytes()[: rounds.read_bytes().rfind(b"\n") + 1]
    process = started(*asked)
    said = process.communicate(timeout=1200)[1]
    if process.returncode == 1:  # a machine that is too noisy for a table says so, and keeps what it has
        assert rounds.read_bytes().startswith(before), said
        pytest.skip(said.strip().splitlines()[-1])
    assert process.returncode == 0, said
    assert len(read_table(table).subnets) == 70
    assert os.listdir(tmp_path) == ["table.json"]


def test_a_fine_tuning_that_is_killed_gains_the_same(trained: Path) -> None:
    asked = ("finetune", trained, "--subnet", SUBNET, "schedule.duration=24 steps", "checkpoint.every=4 steps")
    finish(*asked, "name=whole", "--teacher")
    broken = trained.parent / "broken"
    for step in (3, 13, 22):
        kill_once(
            lambda step=step: lines(broken / "metrics.jsonl") >= step, *asked, "name=broken", "--teacher", "--resume"
        )
        assert not (broken / "finetuning.json").exists()
    finish(*asked, "name=broken", "--teacher", "--resume")
    ours, theirs = (content(trained.parent / name / "finetuning.json") for name in ("broken", "whole"))
    assert (ours["before"], ours["after"]) == (theirs["before"], theirs["after"])
    assert (broken / "supernet.safetensors").read_bytes() == (
        trained.parent / "whole" / "supernet.safetensors"
    ).read_bytes()


def test_an_export_that_is_killed_leaves_no_folder_and_is_made_again(trained: Path, tmp_path: Path) -> None:
    asked = ("export", trained, "--subnet", SUBNET, "--format", "onnx,int8", "--max-drop", 100, "--output")
    whole, broken = tmp_path / "whole", tmp_path / "broken" / "deployed"
    beside = broken.with_name(f".{broken.name}.writing")
    began = time.monotonic()
    finish(*asked, whole)
    took = time.monotonic() - began
    kill_once(lambda: (beside / "subnet.onnx").exists() or broken.exists(), *asked, broken)
    for _ in range(5):
        shutil.rmtree(broken, ignore_errors=True)  # where it was quicker than the kill
        due = time.monotonic() + RANDOM.uniform(0, took)
        kill_once(lambda due=due: time.monotonic() > due or broken.exists(), *asked, broken)
        assert not broken.exists() or sorted(os.listdir(broken)) == sorted(os.listdir(whole)), "whole or not there"
    shutil.rmtree(broken, ignore_errors=True)
    finish(*asked, broken)
    assert os.listdir(broken.parent) == ["deployed"]
    assert sorted(os.listdir(broken)) == sorted(os.listdir(whole))
    for name in ("subnet.onnx", "subnet.int8.onnx"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()
    ours, theirs = (content(folder / "card.json") for folder in (broken, whole))
    assert ours["test"] == theirs["test"]
