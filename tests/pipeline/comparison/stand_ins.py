"""Runs that are no processes: they leave what a run leaves, or fail, after as many looks as they are told to take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pipeline.comparison.display import Display
from pipeline.comparison.running import Running
from pipeline.comparison.seed_run import SeedRun, Task, seed_run_in
from pipeline.recipe.reading import load_recipe
from pipeline.run.layout import EVALUATION, SPACE, VALIDATION, WEIGHTS
from pipeline.training.stop_request import StopRequest
from tests.pipeline.reports.run_folders import SUBNETS


class Program:
    """Ends at the `looks`-th look, with `code`; or once it is told to stop."""

    def __init__(self, looks: int, code: int, ends: Callable[[int], object]) -> None:
        self.left, self.code, self.ends = looks, code, ends
        self.signals: list[int] = []

    def poll(self) -> int | None:
        self.left -= 1
        if self.left > 0:
            return None
        self.ends(self.code)
        return self.code

    def send_signal(self, sig: int) -> None:
        self.signals.append(sig)
        self.left, self.code = 1, 128 + sig


class StandIns:
    """Starts stand-ins, and notes which, and how many at a time.

    Attributes:
        codes: exit codes other than 0, by the run's name and the task's word.
        does_nothing: whether they end well and leave nothing.
        accuracy: of a run's full model, by the run's name; 90 %.
        on_failure: called with the run of one that ends with another code.
    """

    def __init__(self) -> None:
        self.codes: dict[tuple[str, str], int] = {}
        self.accuracy: dict[str, float] = {}
        self.does_nothing = False
        self.looks = 3
        self.started: list[tuple[str, str]] = []
        self.commands: list[tuple[str, ...]] = []
        self.places: list[int] = []
        self.live = self.most = 0
        self.programs: list[Program] = []
        self.on_start: Callable[[], object] = lambda: None
        self.on_failure: Callable[[SeedRun], object] = lambda seed_run: None

    def __call__(self, seed_run: SeedRun, task: Task, place: int) -> Program:
        self.started.append((seed_run.name, task.word))
        self.commands.append(task.command)
        self.places.append(place)
        self.live += 1
        self.most = max(self.most, self.live)
        self.on_start()
        code = self.codes.get((seed_run.name, task.word), 0)
        program = _Counted(self, code, lambda code: self._leave(seed_run, task, code))
        self.programs.append(program)
        return program

    def _leave(self, seed_run: SeedRun, task: Task, code: int) -> None:
        if self.does_nothing:
            return
        seed_run.folder.mkdir(parents=True, exist_ok=True)
        if code:
            self.on_failure(seed_run)
            return
        if task.word == "training":
            for name in (WEIGHTS, SPACE):
                (seed_run.folder / name).write_text("{}")
            return
        name = VALIDATION if "--validation" in task.command else EVALUATION
        full = self.accuracy.get(seed_run.name, 90.0)
        (seed_run.folder / name).write_text(json.dumps({"subnets": evaluated(full)}))


class _Counted(Program):
    def __init__(self, starts: StandIns, code: int, ends: Callable[[int], object]) -> None:
        super().__init__(starts.looks, code, ends)
        self.starts = starts

    def poll(self) -> int | None:
        code = super().poll()
        self.starts.live -= code is not None
        return code


def evaluated(full: float) -> list[dict[str, object]]:
    """Rows of a Pareto row: the full model's top-1 is given, the smallest subnet's is 5 points lower."""
    return [
        {"subnet": text, "name": name, "pareto": True, "macs": macs, "params": params, "loss": 0.4}
        | {"top1": full - 5 + 5 * gain, "top5": 99.0}
        for text, name, macs, params, gain in SUBNETS
    ]


def seed_runs(folder: Path, digits: Path, seeds: int, name: str = "digits") -> list[SeedRun]:
    recipe = load_recipe(Path("recipes/digits.yaml"), [f"data.shards={digits}", f"name={name}"])
    return [seed_run_in(folder, recipe, seed) for seed in range(seeds)]


def runner(starts: StandIns, at_once: int, stop: StopRequest | None = None) -> Running:
    return Running(starts, at_once, Display(), stop or StopRequest())
