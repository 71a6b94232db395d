"""`deps compare` killed in the middle: called again it goes on, and comes to what it would have come to."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from pipeline.tracking.ledger import read_ledger
from pipeline.tracking.metrics import last_step
from tests.faults.broken_run import assert_same
from tests.pipeline.comparison.real_runs import arguments, names
from tests.support.forked_program import REPOSITORY

pytestmark = pytest.mark.faults

LONG = ("schedule.duration=100 steps", "checkpoint={every: 4 steps, keep: 2}")


def started(digits: Path, folder: Path, output: str) -> subprocess.Popen[bytes]:
    """`deps compare` as a person starts it, two runs at a time; the leader of a group of its own."""
    keys = [*arguments(digits, folder, *LONG), "--runs-at-once", "2", "--output", str(folder / output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "deps_command", "compare", *keys]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, start_new_session=True, stderr=subprocess.PIPE)


def said(process: subprocess.Popen[bytes]) -> str:
    return process.communicate(timeout=1200)[1].decode()


def wait_for_steps(runs: Path, name: str, steps: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 1200
    while last_step(runs / name / "metrics.jsonl") < steps:
        assert time.monotonic() < deadline, "it does not train"
        assert process.poll() is None, said(process)
        time.sleep(0.01)


def test_a_comparison_that_is_killed_goes_on_and_ends_as_if_left_alone(digits: Path, tmp_path: Path) -> None:
    whole = started(digits, tmp_path, "whole")
    assert (said(whole), whole.returncode)[1] == 0
    runs = tmp_path / "broken" / "runs"

    first = started(digits, tmp_path, "broken")
    wait_for_steps(runs, "digits-1", 10, first)
    os.killpg(first.pid, signal.SIGKILL)  # all of it: the command and its runs
    said(first)

    second = started(digits, tmp_path, "broken")
    wait_for_steps(runs, "digits-0", 40, second)
    second.kill()  # the command alone: its runs go on
    second.wait()

    third = started(digits, tmp_path, "broken")
    wait_for_steps(runs, "other-0", 10, third)
    third.send_signal(signal.SIGTERM)
    told = said(third)
    assert third.returncode == 128 + signal.SIGTERM, told
    assert "another call, or a run that one has left, is at work there; waiting for its end" in told
    assert "saved; continue with --resume" in (tmp_path / "broken" / "logs" / "other-0.txt").read_text()
    assert not (tmp_path / "broken" / "compare.html").exists()

    last = started(digits, tmp_path, "broken")
    told = said(last)
    assert last.returncode == 0, told
    assert "digits-0: training" not in told, "what is trained is kept"
    for name in names():
        ours, theirs = runs / name, tmp_path / "whole" / "runs" / name
        assert_same(load_file(ours / "supernet.safetensors"), load_file(theirs / "supernet.safetensors"))
        broken, alone = (read_ledger(folder / "ledger.json") for folder in (ours, theirs))
        assert alone.training_macs is not None
        # What was trained after the last checkpoint before a kill is trained again.
        assert alone.training_macs <= (broken.training_macs or 0) < alone.training_macs * 1.3
    assert (tmp_path / "broken" / "compare.html").exists()
