"""What all processes must agree on before each step: go on, stop because somebody asked, or stop because of damage."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import FrameType


class Verdict(IntEnum):
    """Of one process before a step; the highest of all processes is everybody's."""

    GO_ON = 0
    STOP = 1
    DAMAGED = 2


class StopRequest:
    """Whether a signal has asked this process to stop, and which one came first.

    The handler only takes a note, however often it is called: the training loop stops between two steps, all
    processes together.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or signal.Signals(number)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of SIGTERM and SIGINT inside, and restore what was there before."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
