"""Leaving with the deepspeed launcher: a signal to the `deepspeed` command alone would leave its workers behind.

On one machine, the command starts a launcher, which starts the workers, and hands on no signal. So a machine's first
worker looks whether its launcher is still the command's child, and takes its end as the signal that it did not get. A
shell that goes (`nohup deepspeed … &`) is the command's parent and not looked at; nor are torchrun, srun and plain
starts.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

LOOK_SECONDS = 1.0
_LAUNCHER, _COMMAND = "deepspeed.launcher.launch", "deepspeed"


@contextmanager
def leaving_with_the_launcher(stopping: Callable[[], bool]) -> Iterator[None]:
    """Inside, send this process SIGTERM once the `deepspeed` command that started it, or its launcher, is gone.

    Only a machine's first process looks: a signal to one is one to all.

    Args:
        stopping: whether this process was asked to stop already; then there is nothing to tell.
    """
    left = threading.Event()
    family = _launched_by() if os.environ.get("LOCAL_RANK") == "0" else None
    if family is not None:
        watch = threading.Thread(target=_watch, args=(*family, left, stopping), name="launcher", daemon=True)
        watch.start()
    try:
        yield
    finally:
        left.set()


def _launched_by() -> tuple[psutil.Process, psutil.Process] | None:
    """The launcher and the command that started this process; None where it was started otherwise."""
    try:
        launcher = psutil.Process().parent()
        command = launcher.parent() if launcher and _LAUNCHER in launcher.cmdline() else None
        if launcher and command and any(Path(part).name == _COMMAND for part in command.cmdline()[:2]):
            return launcher, command
    except psutil.Error:  # gone meanwhile, or somebody else's
        pass
    return None


def _watch(
    launcher: psutil.Process, command: psutil.Process, left: threading.Event, stopping: Callable[[], bool]
) -> None:
    while not left.wait(LOOK_SECONDS):
        if _together(launcher, command):
            continue
        if not stopping():
            print("pipeline.train: the deepspeed command is gone: saving and leaving", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGTERM)
        return


def _together(launcher: psutil.Process, command: psutil.Process) -> bool:
    try:
        return os.getppid() == launcher.pid and launcher.ppid() == command.pid
    except psutil.NoSuchProcess:
        return False
