"""Commands in forked copies of this process: what crashes, hangs or eats memory there ends nothing here."""

import logging
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

HUNG = 180.0  # seconds after which a command that takes one to ten is called hanging, however busy the machine is
MEMORY = 3 << 30  # bytes that it may take besides what this process has


class Ended(NamedTuple):
    """A copy that has ended: its exit code, or minus the signal that ended it; None where it had to be killed."""

    code: int | None
    stdout: str
    stderr: str


def forked(work: Callable[[], object], cwd: Path) -> Ended:
    """Call `work` in a copy of this process, in the folder `cwd`, with the standard streams captured."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            os._exit(_work(work, cwd, output.fileno(), errors.fileno()))
        code = _wait(child)
        return Ended(code, *(_text(file) for file in (output, errors)))


def _work(work: Callable[[], object], cwd: Path, output: int, errors: int) -> int:
    """In the copy: the exit code of `work`, as a process of its own would have it."""
    os.setsid()  # with what it starts, it can be ended as one
    os.dup2(output, 1)
    os.dup2(errors, 2)
    sys.stdout, sys.stderr = (open(stream, "w", encoding="utf-8", closefd=False) for stream in (1, 2))  # noqa: SIM115
    logging.getLogger().handlers = []  # those of the tests; a command sets up its own
    status = Path("/proc/self/status").read_text().splitlines()
    most = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData")) + MEMORY
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        os.chdir(cwd)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _wait(child: int) -> int | None:
    until = time.monotonic() + HUNG
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _text(file) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
