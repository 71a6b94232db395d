"""Turns of the contenders, each in a process of its own, which the others cannot disturb.

That process is `python -m pipeline.bench.reading.turns CONTENDER WORKERS`. It takes pickled tasks from its standard
input and answers on its standard output. It is a program like any training, not a child of `multiprocessing`: reader
processes that a library forks from such a child do not all end well.
"""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import IO, NamedTuple, cast

import torch

from pipeline.bench.reading import readers
from pipeline.bench.reading.cpu_time import cpu_seconds
from pipeline.bench.reading.photographs import Photographs
from pipeline.bench.reading.shown import PREFETCH, Shown, complaint
from pipeline.errors import RunFailure

_LAST_TASK = 20.0  # seconds


class Turn(NamedTuple):
    """What a contender did in its turn: images shown, seconds, and CPU seconds of all its processes and threads."""

    images: int
    seconds: float
    cpu_seconds: float


class Player:
    """A contender in a process of its own; a context, at whose end it ends."""

    def __init__(self, name: str, workers: int) -> None:
        self._name = name
        workers = 0 if readers.READERS[name].in_process else workers
        command = [sys.executable, "-m", "pipeline.bench.reading.turns", name, str(workers)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()  # it ends by itself, after the task that it is at
        try:
            self._process.wait(_LAST_TASK)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def complaint(self, data: Photographs) -> str | None:
        """What is wrong with one pass over the data, or with getting there."""
        try:
            return cast("str | None", self._ask(data, None))
        except (EOFError, BrokenPipeError):
            return f"its process ended with {self._process.wait()}"

    def turn(self, data: Photographs, seconds: float) -> Turn:
        """Show images for `seconds`, at the pace that it reaches after the first ones.

        Raises:
            RunFailure: where it fails now.
        """
        try:
            answer = self._ask(data, seconds)
        except (EOFError, BrokenPipeError):
            answer = f"its process ended with {self._process.wait()}"
        if not isinstance(answer, Turn):
            raise RunFailure(f"bench data: {self._name}, {data.name}: {answer}")
        return answer

    def _ask(self, data: Photographs, seconds: float | None) -> object:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump((data, seconds), self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)


def _check(name: str, data: Photographs, workers: int) -> str | None:
    contender = readers.READERS[name]
    return complaint(data, contender.promise, contender.read(data, workers, False))


def _turn(name: str, data: Photographs, workers: int, seconds: float) -> Turn:
    with closing(readers.READERS[name].read(data, workers, True)) as batches:
        _show(batches, _under_way(workers))
        images, began, cpu = 0, time.perf_counter(), cpu_seconds()
        while time.perf_counter() - began < seconds:
            images += _show(batches, 1)
        return Turn(images, time.perf_counter() - began, cpu_seconds() - cpu)


def _under_way(workers: int) -> int:
    """Batches that may be under way at a time: the first so many come at another pace."""
    return (workers + 1) * (PREFETCH + 1)


def _show(batches: Iterator[Shown], count: int) -> int:
    """Take `count` batches, and wait until they are there; return the number of images."""
    images = sum(len(shown.images) for shown in itertools.islice(batches, count))
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return images


def _serve(name: str, workers: int, tasks: IO[bytes], answers: IO[bytes]) -> None:
    while True:
        try:
            data, seconds = pickle.load(tasks)
        except EOFError:
            return
        try:
            answer = _check(name, data, workers) if seconds is None else _turn(name, data, workers, seconds)
        except Exception as error:  # whatever a contender raises, the others go on
            answer = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        pickle.dump(answer, answers)
        answers.flush()


if __name__ == "__main__":
    _answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    from pipeline.bench.reading import turns  # whose classes the asker knows, unlike those of __main__

    turns._serve(sys.argv[1], int(sys.argv[2]), sys.stdin.buffer, _answers)
