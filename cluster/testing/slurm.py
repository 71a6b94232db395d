"""A SLURM of two nodes on this machine: munge, controller and node daemons in one folder, all ended by process id."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import jinja2
import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
NODES = ("n1", "n2")
PROCESSORS = 4  # of each node, whatever this machine has
_SYSTEM = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
_SECONDS_TO_START = 30
_SECONDS_TO_END = 20


class NoSlurmError(RuntimeError):
    """No SLURM can be started here; the message says what is missing."""


@dataclass(frozen=True)
class Slurm:
    """A running SLURM.

    Attributes:
        environment: what its clients need, besides that of this process.
        controller: its process; ending it makes a cluster whose controller does not answer.
    """

    folder: Path
    environment: dict[str, str]
    controller: subprocess.Popen[bytes]

    def client(self, *command: str, seconds: float = 10) -> str:
        """The output of `sinfo`, `squeue`, `scancel` …

        Raises:
            subprocess.SubprocessError: it failed, or took longer than `seconds`.
        """
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
        )
        return done.stdout

    def completed(self, job: int) -> list[dict[str, str]]:
        """The lines of the job completion log about `job`: one for each of its runs, `key=value` each."""
        log = self.folder / "completed_jobs"
        lines = log.read_text().splitlines() if log.exists() else []
        rows = [dict(field.split("=", 1) for field in line.split() if "=" in field) for line in lines]
        return [row for row in rows if row["JobId"] == str(job)]


def missing_programs() -> list[str]:
    """What of SLURM and munge is not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=_SYSTEM) is None]


@contextmanager
def running_slurm(folder: Path) -> Iterator[Slurm]:
    """Start a SLURM in `folder`, and end all of it, its jobs included.

    Raises:
        NoSlurmError: a program is missing, or a daemon does not come up.
    """
    if missing := missing_programs():
        raise NoSlurmError(f"{', '.join(missing)}: not installed; sh cluster/testing/install.sh")
    daemons: list[subprocess.Popen[bytes]] = []
    slurm = None
    try:
        slurm = _start(folder, daemons)
        yield slurm
    finally:
        if slurm is not None:
            _end_jobs(slurm)
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            with suppress(subprocess.TimeoutExpired):
                daemon.wait(_SECONDS_TO_END)
            daemon.kill()
        _kill_what_is_left(folder)


def _start(folder: Path, daemons: list[subprocess.Popen[bytes]]) -> Slurm:
    for name in ("state", *NODES):
        (folder / name).mkdir(parents=True)
    configuration = _configure(folder)
    environment = {"SLURM_CONF": str(configuration), "PATH": _SYSTEM}

    def daemon(*command: str) -> subprocess.Popen[bytes]:
        with (folder / f"{command[0]}.output").open("ab") as output:
            process = subprocess.Popen(
                command,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        daemons.append(process)
        return process

    # --force: the folder belongs to whoever runs the tests, and its parents to others.
    daemon("munged", "--foreground", "--force", *_munge_files(folder))
    _wait_for((folder / "munge.socket").exists, daemons)
    controller = daemon("slurmctld", "-D", "-c", "-i", "-f", str(configuration))
    for name in NODES:
        daemon("slurmd", "-D", "-N", name, "-f", str(configuration))
    slurm = Slurm(folder, environment, controller)
    _wait_for(lambda: _idle_nodes(slurm) == len(NODES), daemons)
    return slurm


def _munge_files(folder: Path) -> list[str]:
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return [f"--{option}={folder / f'munge.{suffix}'}" for option, suffix in files.items()]


def _configure(folder: Path) -> Path:
    controller_port, *ports = _free_ports(1 + len(NODES))
    template = Path(__file__).with_name("slurm.conf.j2").read_text()
    text = jinja2.Template(template, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(
        folder=folder,
        host=socket.gethostname().split(".")[0],
        user=getpass.getuser(),
        controller_port=controller_port,
        nodes=dict(zip(NODES, ports, strict=True)),
        processors=PROCESSORS,
    )
    path = folder / "slurm.conf"
    path.write_text(text)
    return path


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _idle_nodes(slurm: Slurm) -> int:
    try:
        return slurm.client("sinfo", "--noheader", "--Node", "--states=idle").count("\n")
    except subprocess.SubprocessError:
        return 0


def _wait_for(ready: Callable[[], bool], daemons: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while not ready():
        for daemon in daemons:
            if daemon.poll() is not None:
                raise NoSlurmError(f"{daemon.args}: ended with exit code {daemon.returncode}")
        if time.monotonic() > deadline:
            raise NoSlurmError(f"SLURM did not come up within {_SECONDS_TO_START} s")
        time.sleep(0.05)


def _end_jobs(slurm: Slurm) -> None:
    if slurm.controller.poll() is not None:
        return
    with suppress(subprocess.SubprocessError):
        slurm.client("scancel", f"--user={getpass.getuser()}", "--signal=KILL", "--full")
        slurm.client("scancel", f"--user={getpass.getuser()}")
        deadline = time.monotonic() + _SECONDS_TO_END
        while slurm.client("squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(0.2)


def _kill_what_is_left(folder: Path) -> None:
    """Kill what the daemons left, where the controller died before them."""
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):
            if process.pid != os.getpid() and _belongs(process, folder):
                process.kill()


def _belongs(process: psutil.Process, folder: Path) -> bool:
    """Whether a process is a job's, which has this SLURM's configuration in its environment, or the daemon of one.

    That clears its environment, and rewrites its name; it logs into this SLURM's folder.
    """
    if process.info["name"].startswith("slurmstepd"):
        return any(Path(file.path).is_relative_to(folder) for file in process.open_files())
    return process.environ().get("SLURM_CONF") == str(folder / "slurm.conf")
