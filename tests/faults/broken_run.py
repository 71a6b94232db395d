"""Runs that faults are put into: how they are started, what they said, and whether they ended as if left alone."""

import os
import signal
from pathlib import Path

import torch
from safetensors.torch import load_file

from pipeline.tracking.metrics import read_metrics
from tests.support.processes import Program, run, small_run, start

STEPS = 32
ENGINES = {1: "engine={name: single}", 2: "engine={name: ddp}"}

Weights = dict[str, torch.Tensor]


class Run:
    """A small run in `runs`/NAME on `world` processes, started as often as it takes.

    Args:
        overrides: of the recipe, besides those of `small_run`.
    """

    def __init__(self, digits: Path, runs: Path, name: str, world: int, *overrides: str) -> None:
        self.folder = runs / name
        self.world = world
        arguments = [*small_run(digits, runs), ENGINES[world], f"name={name}", *overrides]
        self.command = ["-m", "pipeline.train", *arguments, "--resume"]

    def start(self) -> list[Program]:
        return start(self.command, self.world)

    def finish(self) -> list[str]:
        """Run to the end; what each process said."""
        return run(self.command, self.world)

    def weights(self) -> Weights:
        return load_file(self.folder / "supernet.safetensors")

    def saved(self) -> list[int]:
        """The steps of the whole checkpoints."""
        return [int(path.stem.removeprefix("step-")) for path in sorted((self.folder / "checkpoints").glob("*.json"))]

    def steps_read(self) -> list[int]:
        """The steps of the metrics as they are read: each one once, whatever came twice."""
        return read_metrics(self.folder / "metrics.jsonl")["loss/full"].steps.tolist()


def ended(processes: list[Program], timeout: float = 600) -> tuple[list[int], list[str]]:
    """Exit codes, and the lines that the processes ended with; no traceback is among what they said."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        kill(processes)
    assert "Traceback" not in "".join(outputs), "".join(outputs)
    lines = [line for output in outputs for line in output.splitlines() if line.startswith("pipeline.train:")]
    return [process.returncode for process in processes], lines


def kill(processes: list[Program]) -> list[str]:
    """SIGKILL to those that still run, the main process first; what they have said by then."""
    for process in processes:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
    return [process.communicate()[0] for process in processes]


def assert_same(weights: Weights, expected: Weights) -> None:
    """Equal to the last bit."""
    assert weights.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(weights[name], tensor), name
