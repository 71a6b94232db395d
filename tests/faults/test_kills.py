"""SIGKILL while a checkpoint is written: the run goes on from a whole one, and ends as if left alone."""

import os
import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.broken_run import Run, assert_same, kill
from tests.support.processes import Program

pytestmark = pytest.mark.distributed

RANDOM = random.SystemRandom()
LONGEST_DELAY = 0.01  # seconds after a file was begun; writing one takes some milliseconds


def test_a_run_killed_while_it_writes_ends_with_the_same_weights(digits: Path, tmp_path: Path) -> None:
    killed_again_and_again(digits, tmp_path, world=2, kills=2, steps=32)


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("world", [1, 2])
def test_a_run_killed_fifty_times_while_it_writes_ends_with_the_same_weights(
    digits: Path, tmp_path: Path, world: int
) -> None:
    killed_again_and_again(digits, tmp_path, world, kills=50, steps=240)


def killed_again_and_again(digits: Path, runs: Path, world: int, kills: int, steps: int) -> None:
    length = (f"schedule.duration={steps} steps", "checkpoint={every: 1 steps, keep: 3}")
    whole, broken = (Run(digits, runs, name, world, *length) for name in ("whole", "broken"))
    whole.finish()
    left: Counter[str] = Counter()
    for _ in range(kills):
        before = broken.saved()
        processes = broken.start()
        wait_for_writing(broken.folder / "checkpoints", files=RANDOM.randint(1, 6), processes=processes)
        time.sleep(RANDOM.uniform(0, LONGEST_DELAY))
        said = kill(processes)[0]
        left[what_is_left(broken.folder / "checkpoints")] += 1
        assert continued_at(said) == (before[-1] if before else 0), said
    said = broken.finish()[0]
    assert "damaged" not in said
    assert_same(broken.weights(), whole.weights())
    read = broken.steps_read()
    assert read == whole.steps_read() == list(range(1, steps + 1))
    rows = (broken.folder / "metrics.jsonl").read_bytes().count(b"\n")
    print(
        f"\n{world} processes: {kills} kills injected, {kills} survived ({dict(left)}), "
        f"{rows - steps} steps done twice, {steps - len(read)} rows of metrics lost"
    )


def wait_for_writing(folder: Path, files: int, processes: list[Program]) -> None:
    """Return when this start has begun to write its `files`-th file: checkpoints and their sidecars in turn."""
    left_over = {path.name for path in folder.glob(".*.writing")}
    seen: set[str] = set()
    deadline = time.monotonic() + 600
    while len(seen) < files:
        assert time.monotonic() < deadline, "nothing was written"
        assert all(process.poll() is None for process in processes), processes[0].communicate()[0]
        try:
            names = {name for name in os.listdir(folder) if name.endswith(".writing")}
        except FileNotFoundError:
            continue
        left_over &= names  # one that is gone and comes again is written again
        seen |= names - left_over
        time.sleep(0.0002)


def what_is_left(folder: Path) -> str:
    """Where in a write the kill fell."""
    if list(folder.glob(".*.safetensors.writing")):
        return "weights half written"
    if list(folder.glob(".*.json.writing")):
        return "sidecar half written"
    if any(not path.with_suffix(".json").exists() for path in folder.glob("step-*.safetensors")):
        return "sidecar missing"
    return "after the write"


def continued_at(said: str) -> int:
    """The step that a start said it continued at; 0 where it began."""
    told = re.search(r"continuing at step (\d+)", said)
    return int(told[1]) if told else 0
