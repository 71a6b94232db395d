"""Runs as processes, so many at a time: each is trained and evaluated as far as that is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from pipeline.comparison.display import Display
from pipeline.comparison.seed_run import SeedRun, Task
from pipeline.training.stop_request import StopRequest

SECONDS_BETWEEN_LOOKS = 0.2


class Program(Protocol):
    """A process that was started."""

    def poll(self) -> int | None:
        """Return its exit code; None while it runs."""

    def send_signal(self, sig: int, /) -> None:
        """Send it a signal; nothing where it has ended."""


Starts = Callable[[SeedRun, Task, int], Program]


@dataclass(frozen=True)
class Failure:
    """A run that did not come to its end, at what, and with what exit code."""

    seed_run: SeedRun
    word: str
    exit_code: int

    def __str__(self) -> str:
        return f"{self.seed_run.name}: {self.word} ended with exit code {self.exit_code}; see {self.seed_run.log}"


class Running:
    """What is under way: a process in each place of so many."""

    def __init__(self, starts: Starts, at_once: int, display: Display, stop: StopRequest) -> None:
        self._starts, self._display, self._stop = starts, display, stop
        self._free = list(reversed(range(at_once)))  # the places
        self._live: dict[int, tuple[SeedRun, Task, Program]] = {}  # by place
        self.failures: list[Failure] = []

    def finish(self, seed_runs: Sequence[SeedRun]) -> None:
        """Do all that is left to do for `seed_runs`, in their order; returns early once a signal has asked to stop.

        Who fails is in `failures` then.
        """
        waiting = deque(each for each in seed_runs if each.next_task())
        self._display.expect(len(seed_runs), len(seed_runs) - len(waiting))
        told_to_stop = False
        while (waiting and not self._stop.signal) or self._live:
            if self._stop.signal and not told_to_stop:
                told_to_stop = True
                for _, _, program in self._live.values():
                    program.send_signal(signal.SIGTERM)
            while waiting and self._free and not self._stop.signal:
                self._begin(self._free.pop(), waiting.popleft())
            time.sleep(SECONDS_BETWEEN_LOOKS)
            self._look()

    def _begin(self, place: int, seed_run: SeedRun, done: Task | None = None) -> None:
        """Start the next task of `seed_run` where there is one; `done` is that which has just ended well."""
        task = seed_run.next_task()
        if task is None:
            self._display.finished(seed_run)
        elif task == done:  # ended well, and what it is for is not there
            self._fail(seed_run, task, 0)
        else:
            self._display.begun(seed_run, task)
            self._live[place] = (seed_run, task, self._starts(seed_run, task, place))
            return
        self._free.append(place)

    def _look(self) -> None:
        for place, (seed_run, task, program) in list(self._live.items()):
            code = program.poll()
            if code is None:
                self._display.look(seed_run)
                continue
            del self._live[place]
            if not self._stop.signal and (code == 0 or (seed_run.chooses and seed_run.has_diverged())):
                self._begin(place, seed_run, task)
                continue
            self._free.append(place)
            if not self._stop.signal:
                self._fail(seed_run, task, code)

    def _fail(self, seed_run: SeedRun, task: Task, code: int) -> None:
        # As shells tell it, where a signal ended the process.
        failure = Failure(seed_run, task.word, code if code >= 0 else 128 - code)
        self.failures.append(failure)
        self._display.failed(seed_run, str(failure))


def start(lock: int, at_once: int) -> Starts:
    """Return what starts a task as a person would at a prompt, its output at the end of the run's log.

    Args:
        lock: descriptor of the folder's lock, which is held as long as the process lasts.
        at_once: the processors are shared by so many.
    """
    environment = {**shared_threads(at_once, os.cpu_count() or 1), **os.environ}
    count = torch.cuda.device_count()
    gpus = environment.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")[:count]

    def starts(seed_run: SeedRun, task: Task, place: int) -> Program:
        with open(seed_run.log, "ab") as log:
            return subprocess.Popen(
                task.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment, **own_gpu(gpus, place)},
                pass_fds=[lock],
            )

    return starts


def shared_threads(at_once: int, processors: int) -> dict[str, str]:
    """The variables that have each of several processes compute with its share of the processors."""
    return {"OMP_NUM_THREADS": str(max(1, processors // at_once))} if at_once > 1 else {}


def own_gpu(gpus: Sequence[str], place: int) -> dict[str, str]:
    """The variable that gives the process in `place` a GPU of its own, as far as there are enough."""
    return {"CUDA_VISIBLE_DEVICES": gpus[place % len(gpus)]} if len(gpus) > 1 else {}
