"""What a person sees while training: a progress bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import signal
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.methods.schedule import Schedule
from pipeline.processes.group import Processes
from pipeline.recipe.recipe import Recipe

_SECONDS_BETWEEN_LINES = 10.0


class TrainingProgress:
    """A progress bar of one run on the error stream; shows nothing unless `visible`.

    Args:
        steps: of the whole run.
        done: steps before this start.
        held_out: a word for the images that accuracy is measured on.
    """

    def __init__(self, name: str, steps: int, done: int, visible: bool, held_out: str = "held-out") -> None:
        self.steps = steps
        self._held_out = held_out
        self._visible = visible
        self._on_terminal = sys.stderr.isatty()
        self._console = Console(stderr=True, highlight=False)
        self._began, self._began_at = time.monotonic(), done
        self._last_line = 0.0
        self._bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
            disable=not (visible and self._on_terminal),
        )
        self._task = self._bar.add_task(name, total=steps, completed=done, figures="starting")

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, step: int) -> None:
        """`step` steps are done."""
        self._bar.update(self._task, completed=step)

    def show(self, step: int, phase: str, metrics: dict[str, float], cost: str) -> None:
        """Show the newest figures: loss of the first slot, held-out accuracy, speed, cost so far."""
        figures = [phase]
        if loss := next((value for name, value in metrics.items() if name.startswith("loss/")), None):
            figures.append(f"loss {loss:.3f}")
        accuracies = {name: value for name, value in metrics.items() if name.startswith("acc/")}
        trained = accuracies.pop("acc/train", None)
        if accuracies:
            figures.append(f"{self._held_out} {next(iter(accuracies.values())):.1f} %")
        elif trained is not None:
            figures.append(f"train {trained:.1f} %")
        if "speed/images_per_second" in metrics:
            figures.append(f"{metrics['speed/images_per_second']:,.0f} images/s")
        text = " · ".join([*figures, cost])
        self._bar.update(self._task, completed=step, figures=text)
        now = time.monotonic()
        due = now - self._last_line >= _SECONDS_BETWEEN_LINES or step == self.steps
        if self._visible and not self._on_terminal and due:
            self._last_line = now
            left = (self.steps - step) * (now - self._began) / max(step - self._began_at, 1)
            self.say(f"step {step}/{self.steps} · {text} · {_clock(left)} left")

    def say(self, line: str) -> None:
        """Print a line that stays. Where nobody can read it (a pipe that was left, a full disk), training goes on."""
        if self._visible:
            try:
                self._console.print(line, soft_wrap=True, markup=False)
            except (OSError, SystemExit):  # the latter is rich's answer to a pipe that was left
                _fall_silent()


def greeting(
    recipe: Recipe, schedule: Schedule, processes: Processes, step: int, kernels: str, reader: str
) -> list[str]:
    phases = " → ".join(f"{phase.name} {phase.start}–{phase.end}" for phase in schedule.phases)
    lines = [
        f"{recipe.name}: {recipe.approach}, {schedule.steps} steps of {recipe.batch_size} images on "
        f"{processes.world} × {processes.device.type} by {recipe.engine.title}, kernels {kernels}; "
        f"data by {reader}; {phases}"
    ]
    if kept := recipe.data.validation_samples:
        lines.append(
            f"accuracy in training is of {kept:,} validation images, kept out of training; not of the test split"
        )
    if step:
        lines.append(f"continuing at step {step}")
        if recipe.data.access == "sequential":
            lines.append("data.access: sequential: exactly as before only with as many processes and workers as before")
    return lines


def farewell(recipe: Recipe, step: int, schedule: Schedule, stopped: signal.Signals | None) -> str:
    if stopped:
        return f"stopped by {stopped.name} at step {step}/{schedule.steps}, saved; continue with --resume"
    return f"done: {recipe.folder}; next: deps evaluate {recipe.folder}"


def _fall_silent() -> None:
    """What could not be written waits to be written again, and would fail again, at the latest when Python ends."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 2)
    os.close(nothing)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
