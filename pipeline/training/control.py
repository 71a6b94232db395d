"""Signals that ask a run to stop, taken note of until the training loop is between two steps."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


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
