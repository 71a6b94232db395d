"""Signals that ask a run to stop, taken note of until the training loop is between two steps.

SIGTERM and SIGINT come from people, launchers and schedulers. SIGUSR1 is what a job sends when its time is nearly up:
launchers pass no judgement on it, while on SIGTERM they end the processes they started after a grace of their own.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


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
        """Take note of the signals that stop a run, and restore what was there before."""
        before = {number: signal.signal(number, self._note) for number in STOPPING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
