"""Python programs as processes without the seconds of their imports: forked from one that has imported all of it.

For tests of what a program does, not of how it starts: that one's real, as `subprocess` starts it.
"""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


class Forked:
    """A program that has been started, used as a `subprocess.Popen` is, whose output and errors are one text.

    Args:
        command: a script, `-m` and a module, or `-c` and a program; and arguments.
        environment: all of it.
        folder: to be in.
    """

    def __init__(self, command: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self.args = command
        self.returncode: int | None = None
        self._output, output = os.pipe()
        self._said = b""
        self._read = 0
        self._answers, asked = socket.socketpair()
        with open(os.devnull) as nothing, asked:
            streams = [nothing.fileno(), output, output, asked.fileno()]
            socket.send_fds(_server()[0], [b"!"], streams)
        os.close(output)
        request = {"command": command, "environment": dict(environment), "folder": str(folder)}
        self._answers.sendall(json.dumps(request).encode() + b"\n")
        self.pid = int(self._answer())

    def poll(self) -> int | None:
        """The exit code, negative where a signal ended it; None while it runs."""
        if self.returncode is None and _readable(self._answers.fileno(), 0):
            self.returncode = int(self._answer())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end.

        Raises:
            subprocess.TimeoutExpired: after `timeout` seconds; it runs on.
        """
        if self.returncode is None and not _readable(self._answers.fileno(), timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0, self._said)
        code = self.poll()
        assert code is not None
        return code

    def readline(self) -> str:
        """The next line that it says; "" where it has ended. `communicate` gives all, these among them."""
        while (end := self._said.find(b"\n", self._read)) < 0:
            said = os.read(self._output, 1 << 16)
            if not said:
                end = len(self._said) - 1
                break
            self._said += said
        line = self._said[self._read : end + 1]
        self._read = end + 1
        return line.decode(errors="replace")

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """All that it has said, and wait for its end; the errors are among the output.

        Raises:
            subprocess.TimeoutExpired: after `timeout` seconds; it runs on, and may be asked again.
        """
        deadline = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            return None if deadline is None else max(0.0, deadline - time.monotonic())

        while _readable(self._output, left()):
            said = os.read(self._output, 1 << 16)
            if not said:
                self.wait(left())
                return self._said.decode(errors="replace"), None
            self._said += said
        raise subprocess.TimeoutExpired(self.args, timeout or 0, self._said)

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _answer(self) -> bytes:
        """A line of the server's."""
        line = b""
        while not line.endswith(b"\n"):
            part = self._answers.recv(1)
            assert part, "the fork server has ended"
            line += part
        return line

    def __del__(self) -> None:
        os.close(self._output)
        self._answers.close()


@functools.cache
def _server() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """This process's fork server: started when it is first asked for, and ended by this process's end."""
    ours, requests = socket.socketpair()
    with requests:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server", str(requests.fileno())],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "PYTHONPATH": str(REPOSITORY),
                "OMP_NUM_THREADS": "1",
                "CUDA_VISIBLE_DEVICES": "",
                # Arrow's allocator, which comes with MLflow, would start a thread of its own.
                "JE_ARROW_MALLOC_CONF": "background_thread:false",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[requests.fileno()],
        )
    return ours, process


def _readable(descriptor: int, timeout: float | None) -> bool:
    return bool(select.select([descriptor], [], [], timeout)[0])
