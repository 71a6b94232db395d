"""Whole runs of every other network: killed, resumed, evaluated and reported as those of the first one are."""

import json
import random
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.command_line import deps
from tests.support.processes import run, small_run, start
from tests.support.progress import stop, wait_for_steps

PLACES = [
    ("attentive_nas", 2, "ddp"),
    pytest.param("proxyless", 1, "single", marks=pytest.mark.faults),
    pytest.param("resnet50", 1, "single", marks=pytest.mark.faults),
]


@pytest.mark.distributed
@pytest.mark.parametrize(("network", "world", "engine"), PLACES)
def test_a_killed_run_ends_with_the_same_weights_and_has_a_report(
    network: str, world: int, engine: str, digits: Path, tmp_path: Path
) -> None:
    def train(name: str) -> list[str]:
        chosen = [f"name={name}", f"engine.name={engine}", f"space.network={network}_digits"]
        return ["-m", "pipeline.train", *small_run(digits, tmp_path), *chosen, "--resume"]

    run(train("whole"), world)
    steps = random.SystemRandom().randrange(5, 28)  # after the first checkpoint
    print(f"killed after {steps} steps")
    killed = start(train("broken"), world)
    wait_for_steps(tmp_path / "broken", steps, killed)
    stop(killed, signal.SIGKILL)
    assert "continuing at step" in run(train("broken"), world)[0]
    whole, broken = (load_file(tmp_path / name / "supernet.safetensors") for name in ("whole", "broken"))
    assert whole.keys() == broken.keys()
    for key, tensor in whole.items():
        assert torch.equal(broken[key], tensor), key

    evaluated = deps("evaluate", tmp_path / "broken", "--json")
    assert evaluated.returncode == 0, evaluated.stderr
    rows = json.loads(evaluated.stdout)
    assert {row["name"] for row in rows} >= {"smallest", "full"}
    reported = deps("report", tmp_path / "broken", "--output", tmp_path / "report")
    assert reported.returncode == 0, reported.stderr
    page = (tmp_path / "report" / "report.md").read_text()
    assert all(row["subnet"] in page for row in rows)
