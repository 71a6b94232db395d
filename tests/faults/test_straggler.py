"""A process that is much slower than the others: the run goes on, measures it, and names it once."""

import os
import signal
import time
from pathlib import Path

import pytest

from pipeline.tracking.metrics import read_metrics
from tests.faults.broken_run import Run

pytestmark = [pytest.mark.distributed, pytest.mark.faults]


def test_a_process_that_is_stopped_half_of_the_time_is_named_once(digits: Path, tmp_path: Path) -> None:
    run = Run(
        digits, tmp_path, "slow", 2, "schedule.duration=150 steps", "log_every=10 steps", "evaluation.every=0 steps"
    )
    processes = run.start()
    while any(process.poll() is None for process in processes):
        for number, seconds in ((signal.SIGSTOP, 0.3), (signal.SIGCONT, 0.1)):
            if processes[1].poll() is None:
                os.kill(processes[1].pid, number)
            time.sleep(seconds)
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    waiting = read_metrics(run.folder / "metrics.jsonl")["speed/waiting_for_slowest_fraction"].values
    print(f"\nwaited for the slowest: {100 * waiting.mean():.0f} % of the time")
    assert "".join(outputs).count("process 1 on ") == 1, outputs
    assert "is slow: the others wait for it" in outputs[0]
    assert "process 0 on " not in outputs[0]
    assert 0.25 < waiting.mean() < 1
