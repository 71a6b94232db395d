"""Signals that ask a run to stop, taken note of until the training loop is between two steps.

SIGTERM and SIGINT come from people, launchers and schedulers; SIGHUP from a terminal that is closed. SIGUSR1 is what a
job sends when its time is nearly up: launchers pass no judgement on it, while on SIGTERM they end the processes they
started after a grace of their own.
"""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
_OUTPUTS = (1, 2)


class StopRequest:
    """Whether a signal has asked this process to stop, and which one came first.

    The handler only takes a note, however often it is called: the training loop stops between two steps, all
    processes together.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _speak_to_nobody()
        self.signal = self.signal or signal.Signals(number)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take note of the signals that stop a run, and restore what was there before.

        SIGHUP alone may have been ignored on purpose, by `nohup`, and stays so.
        """
        heard = [each for each in STOPPING if (each, signal.getsignal(each)) != (signal.SIGHUP, signal.SIG_IGN)]
        before = {number: signal.signal(number, self._note) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _speak_to_nobody() -> None:
    """Writing to the terminal, or to the pipe that led there, would fail, and saving with it. Files stay."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for output in _OUTPUTS:
        if not stat.S_ISREG(os.fstat(output).st_mode):
            os.dup2(nothing, output)
    os.close(nothing)
