"""A run of progressive shrinking, killed at the entry of its phases and within them, ends as the run that was not."""

import re
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.support.command_line import deps
from tests.support.processes import REPOSITORY, run, start
from tests.support.progress import steps_logged, stop

# Steps done when it is killed: at the entry of kernel, within it, at those of the next three phases, within the last.
KILLS = (8, 11, 14, 15, 16, 19)


def ofa(digits: Path, runs: Path, name: str) -> list[str]:
    return [
        "-m",
        "pipeline.train",
        str(REPOSITORY / "recipes" / "digits100_ofa.yaml"),
        f"runs={runs}",
        f"data.shards={digits}",
        f"name={name}",
        "data.workers=0",
        "train_samples=null",
        "batch_size=16",
        "space={network: mobilenet_v3_digits}",
        "schedule.duration=22 steps",
        "engine={name: single}",
        "evaluation={every: 11 steps, recalibration_samples: 64, batch_size: 64, full_when_shrinking: 0}",
        "checkpoint={every: 1 steps, keep: 3}",
        "log_every=1 steps",
        "tracking.mlflow=false",
        "--resume",
    ]


@pytest.mark.distributed
def test_killed_at_entries_and_within_phases_it_ends_with_the_same_weights(digits: Path, tmp_path: Path) -> None:
    [told] = run(ofa(digits, tmp_path, "whole"), 1)
    phases = "teacher 0–8 → kernel 8–14 → depth 1 14–15 → expand 1 15–16 → expand 2 16–22"
    assert phases in told, told
    folder = tmp_path / "broken"
    for step in KILLS:
        killed = start(ofa(digits, tmp_path, "broken"), 1)
        deadline = time.monotonic() + 600
        while max(steps_logged(folder), default=0) < step:
            assert time.monotonic() < deadline
            assert killed[0].poll() is None, killed[0].communicate()[0]
            time.sleep(0.001)
        stop(killed, signal.SIGKILL)
    [said] = run(ofa(digits, tmp_path, "broken"), 1)
    continued = re.search(r"continuing at step (\d+)", said)
    assert continued, said
    assert int(continued[1]) >= KILLS[-1] - 3
    whole, broken = (load_file(tmp_path / name / "supernet.safetensors") for name in ("whole", "broken"))
    assert whole.keys() == broken.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, broken[name]), name
    reported = deps("report", folder, "--output", tmp_path / "report")
    assert reported.returncode == 0, reported.stderr
    page = (tmp_path / "report" / "report.md").read_text()
    assert all(name in page for name in ("teacher", "kernel", "depth 1", "expand 1", "expand 2"))
