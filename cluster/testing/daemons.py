"""Daemons of a folder: started in the foreground, waited for, and ended by process id."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_SECONDS_TO_START = 180
_SECONDS_TO_END = 20


class NoSlurmError(RuntimeError):
    """No SLURM can be started here; the message says what is missing."""


class Daemons:
    """What one SLURM consists of.

    Args:
        folder: takes `NAME.output`, what each of them prints.
        environment: what they need besides that of this process.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """Start a daemon; the command keeps it in the foreground."""
        with (self._folder / f"{command[0]}.output").open("ab") as output:
            process = subprocess.Popen(
                command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Wait until `ready` is true.

        Raises:
            NoSlurmError: one of the daemons ended, or it takes too long.
        """
        deadline = time.monotonic() + _SECONDS_TO_START
        while not ready():
            for daemon in self._running:
                if daemon.poll() is not None:
                    raise NoSlurmError(f"{daemon.args}: ended with exit code {daemon.returncode}")
            if time.monotonic() > deadline:
                raise NoSlurmError(f"SLURM did not come up within {_SECONDS_TO_START} s")
            time.sleep(0.05)

    def end(self) -> None:
        """End them all, the last one first: each may still need those before it."""
        for daemon in reversed(self._running):
            daemon.terminate()
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(_SECONDS_TO_END)
            daemon.kill()


def free_ports(count: int) -> list[int]:
    """Ports on the loopback interface that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def listens(port: int) -> bool:
    """Whether a process on this machine listens on `port`."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
