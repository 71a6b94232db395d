"""What a person sees of a comparison: a bar of all runs and of each that trains; where there is no terminal, lines."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from data_shards.one_line import one_line
from pipeline.comparison.seed_run import SeedRun, Task
from pipeline.errors import RunFailure, UsageError
from pipeline.run.status import run_status

_SECONDS_BETWEEN_READS = 2.0  # of a run's figures


class Display:
    """Progress on the error stream."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._all = self._bar.add_task("runs", total=0)
        self._of_runs: dict[str, TaskID] = {}
        self._read_at: dict[str, float] = {}
        self._count = self._done = 0

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def expect(self, runs: int, done: int) -> None:
        """Show `runs` more, of which `done` are done."""
        self._count, self._done = self._count + runs, self._done + done
        self._bar.update(self._all, total=self._count, completed=self._done)

    def begun(self, seed_run: SeedRun, task: Task) -> None:
        """Show that a process was started."""
        self._forget(seed_run)
        self._of_runs[seed_run.name] = self._bar.add_task(f"{seed_run.name}: {task.word}", total=None)
        if self._bar.disable:
            self.say(f"{seed_run.name}: {task.word} ({self._done} of {self._count} runs done); log {seed_run.log}")

    def look(self, seed_run: SeedRun) -> None:
        """Show how far a run is, which has a process."""
        now = time.monotonic()
        if self._bar.disable or now - self._read_at.get(seed_run.name, 0.0) < _SECONDS_BETWEEN_READS:
            return
        self._read_at[seed_run.name] = now
        try:
            status = run_status(seed_run.folder)
        except (UsageError, RunFailure, OSError):  # its process tells what is wrong
            return
        self._bar.update(self._of_runs[seed_run.name], total=status.steps or None, completed=status.step)

    def finished(self, seed_run: SeedRun) -> None:
        """Show that nothing is left to do for a run."""
        self._end(seed_run)
        how = "diverged: its loss is not finite" if seed_run.has_diverged() else "done"
        self.say(f"{seed_run.name}: {how} ({self._done} of {self._count} runs)")

    def failed(self, seed_run: SeedRun, what: str) -> None:
        """Show that a run has failed; the others go on."""
        self._end(seed_run)
        self.say(f"deps: {what}")

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self._console.print(one_line(line), soft_wrap=True, markup=False)

    def _end(self, seed_run: SeedRun) -> None:
        self._forget(seed_run)
        self._done += 1
        self._bar.update(self._all, completed=self._done)

    def _forget(self, seed_run: SeedRun) -> None:
        if (shown := self._of_runs.pop(seed_run.name, None)) is not None:
            self._bar.remove_task(shown)
