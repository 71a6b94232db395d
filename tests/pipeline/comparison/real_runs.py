"""Small comparisons of the digits whose runs are processes, forked from one that has imported all they need."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from pipeline.comparison.seed_run import SeedRun, Task
from tests.support.forked_program import REPOSITORY, Forked
from tests.support.processes import small_run

SEEDS = 2


class Logged:
    """A forked program; its output is in the run's log once it has ended."""

    def __init__(self, program: Forked, log: Path) -> None:
        self.program, self.log = program, log

    def poll(self) -> int | None:
        code = self.program.poll()
        if code is not None:
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(self.program.communicate()[0])
        return code

    def send_signal(self, sig: int) -> None:
        self.program.send_signal(sig)


class Starts:
    """Starts runs; notes what was started."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str]] = []

    def __call__(self, seed_run: SeedRun, task: Task, place: int) -> Logged:
        self.started.append((seed_run.name, task.word))
        _, *command = task.command
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}
        return Logged(Forked(command, environment, REPOSITORY), seed_run.log)


def arguments(digits: Path, folder: Path, *overrides: str) -> list[str]:
    """Of `deps compare`: two recipes over two seeds, without an output."""
    recipe, *keys = small_run(digits, folder)
    other = folder / "other.yaml"
    content = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
    other.write_text(yaml.safe_dump({**content, "name": "other", "approach": "other", "model": {"dropout": 0.4}}))
    keys = [key for key in keys if not key.startswith("runs=")]
    return [recipe, str(other), *keys, "engine.name=single", *overrides, f"--seeds={SEEDS}"]


def names(seeds: Sequence[int] = range(SEEDS)) -> list[str]:
    return [f"{name}-{seed}" for name in ("digits", "other") for seed in seeds]
