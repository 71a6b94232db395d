"""How far a run is, by its rows of metrics, while its processes train; and ending them then."""

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import Program


def steps_logged(folder: Path) -> list[int]:
    """The steps in the metrics, in order; those after the last checkpoint come twice where a run was killed."""
    metrics = folder / "metrics.jsonl"
    whole = metrics.read_text().split("\n")[:-1] if metrics.exists() else []  # the last line may be half written
    return [json.loads(line)["step"] for line in whole]


def wait_for_steps(folder: Path, steps: int, processes: Sequence[Program]) -> None:
    """Return as soon as the metrics tell of `steps` steps, repeated ones counted again."""
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        if len(steps_logged(folder)) >= steps:
            return
        for process in processes:
            assert process.poll() is None, process.communicate()[0]
        time.sleep(0.005)
    raise AssertionError(f"{steps} steps were not reached")


def stop(processes: Sequence[Program], number: signal.Signals) -> list[str]:
    """Send all of them a signal, and wait for what they say until they have ended."""
    for process in processes:
        os.kill(process.pid, number)
    return [process.communicate(timeout=600)[0] for process in processes]
