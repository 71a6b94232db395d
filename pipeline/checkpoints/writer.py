"""Writes checkpoints beside the training: one at a time, each within a bounded time, and failures are not lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

from pipeline.errors import RunFailure


class CheckpointWriter:
    """Runs one write after the other in a thread of its own. On leaving the context, waits for the last one.

    Args:
        timeout: seconds that one write may take.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._thread is not None:  # something else ends the run, and is told
            self._thread.join(self._timeout)

    def begin(self, write: Callable[[], object]) -> None:
        """Start a write, once the one before it is done. Raises as `finish` does, for that one."""
        self.finish()
        self._thread = threading.Thread(target=self._run, args=(write,), name="checkpoint", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Wait for the write under way.

        Raises:
            RunFailure: where it failed, or takes longer than it may.
        """
        if self._thread is not None:
            thread, self._thread = self._thread, None  # given up after this, whatever comes of it
            thread.join(self._timeout)
            if thread.is_alive():
                raise RunFailure(
                    f"checkpoint: writing one takes more than {self._timeout:g} s; is the storage there? "
                    "(checkpoint.timeout)"
                )
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    @property
    def failed(self) -> bool:
        """Whether a write has failed, which `finish` tells of."""
        return self._failure is not None

    def _run(self, write: Callable[[], object]) -> None:
        try:
            write()
        except Exception as error:  # raised where it can be told: by the next that asks
            self._failure = error
