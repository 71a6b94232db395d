"""What goes wrong on one process only ends all of them, and is told once, as what it is: there, at that step."""

import re
from pathlib import Path

import pytest

from tests.distributed.processes import start
from tests.faults.broken_run import Run, ended

pytestmark = pytest.mark.distributed

WORKER = Path(__file__).with_name("faulty_worker.py")


def fail(run: Run, *fault: str) -> tuple[list[int], list[str]]:
    _, _, *arguments = run.command
    return ended(start([str(WORKER), *fault, *arguments], run.world))


def test_a_loss_that_is_nan_on_one_process_ends_all_and_names_it(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "nan", 2, "log_every=5 steps")
    # Between two log lines, so that by the next one the losses of all processes are NaN.
    codes, lines = fail(run, "nan", "10", "1")
    assert codes == [1, 1]
    assert len(lines) == 1
    assert re.fullmatch(
        r"pipeline.train: loss is nan at step 10 \(ramp\), full subnet \S+, on process 1; nothing was saved since. .*",
        lines[0],
    )
    assert run.saved() == [4, 8]
    assert 15 not in run.steps_read()


def test_shards_that_one_process_cannot_read_end_all_after_saving(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "unreadable", 2)
    codes, lines = fail(run, "unreadable", "6", "1")
    assert codes == [1, 1]
    assert lines == ["pipeline.train: /shards/train-000000.tar: Input/output error"]
    assert run.saved() == [4, 6]
