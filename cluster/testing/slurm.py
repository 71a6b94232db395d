"""A SLURM of two nodes on this machine: munge, controller and node daemons in one folder, all ended by process id."""

from __future__ import annotations

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import jinja2
import psutil

from cluster.testing import accounting
from cluster.testing.daemons import PATH, Daemons, NoSlurmError, free_ports

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
NODES = ("n1", "n2")
PROCESSORS = 4  # of each node, whatever this machine has
_SECONDS_TO_END = 20


@dataclass(frozen=True)
class Slurm:
    """A running SLURM.

    Attributes:
        environment: what its clients need, besides that of this process.
        controller: its process; ending it makes a cluster whose controller does not answer.
        nodes: the processes of the node daemons, which are among `daemons`, all that is to be ended.
        has_accounting: whether `sacct` can be asked.
    """

    folder: Path
    environment: dict[str, str]
    controller: subprocess.Popen[bytes]
    nodes: dict[str, subprocess.Popen[bytes]]
    daemons: Daemons
    has_accounting: bool

    def client(self, *command: str, seconds: float = 60) -> str:
        """The output of `sinfo`, `squeue`, `scancel` …

        Raises:
            subprocess.SubprocessError: it failed, or took longer than `seconds`.
        """
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            encoding="utf-8",
            timeout=seconds,
            check=True,
        )
        return done.stdout

    def lose_node(self, name: str) -> None:
        """Kill a node's daemon and all that runs on it, as if its machine had lost power."""
        self.nodes[name].kill()
        log = str(self.folder / f"{name}.log")
        for process in psutil.process_iter(["name"]):
            with suppress(psutil.Error):
                if process.info["name"].startswith("slurmstepd") and log in (
                    file.path for file in process.open_files()
                ):
                    # The daemon of a job first: it would still report the end of what it watches.
                    for each in (process, *process.children(recursive=True)):
                        with suppress(psutil.Error):
                            each.kill()

    def start_node(self, name: str) -> None:
        """Start a node that was lost."""
        self.nodes[name] = self.daemons.start("slurmd", "-D", "-N", name)

    def completed(self, job: int) -> list[dict[str, str]]:
        """The lines of the job completion log about `job`: one for each of its runs, `key=value` each."""
        log = self.folder / "completed_jobs"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        rows = [dict(field.split("=", 1) for field in line.split() if "=" in field) for line in lines]
        return [row for row in rows if row["JobId"] == str(job)]


def missing_programs() -> list[str]:
    """What of SLURM and munge is not installed."""
    return [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]


@contextmanager
def running_slurm(folder: Path, with_accounting: bool) -> Iterator[Slurm]:
    """Start a SLURM in `folder`, and end all of it, its jobs included.

    Raises:
        NoSlurmError: a program is missing, or a daemon does not come up.
    """
    if missing := missing_programs() + (accounting.missing_for_accounting() if with_accounting else []):
        raise NoSlurmError(f"{', '.join(missing)}: not installed; sh cluster/testing/install.sh")
    for name in ("state", *NODES):
        (folder / name).mkdir(parents=True)
    accounting_port = _configure(folder, with_accounting)
    environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH}
    daemons = Daemons(folder, {**environment, **accounting.environment(folder)})
    slurm = None
    try:
        slurm = _start(folder, environment, accounting_port, daemons)
        yield slurm
    finally:
        if slurm is not None:
            _end_jobs(slurm)
        daemons.end()
        _kill_what_is_left(folder)


def _start(folder: Path, environment: dict[str, str], accounting_port: int | None, daemons: Daemons) -> Slurm:
    # --force: the folder belongs to whoever runs the tests, and its parents to others.
    daemons.start("munged", "--foreground", "--force", *_munge_files(folder))
    daemons.wait_for((folder / "munge.socket").exists)
    if accounting_port is not None:
        accounting.start(folder, accounting_port, daemons)
    controller = daemons.start("slurmctld", "-D", "-c", "-i")
    slurm = Slurm(folder, environment, controller, {}, daemons, accounting_port is not None)
    for name in NODES:
        slurm.start_node(name)
    daemons.wait_for(lambda: _idle_nodes(slurm) == len(NODES))
    return slurm


def _munge_files(folder: Path) -> list[str]:
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    return [f"--{option}={folder / f'munge.{suffix}'}" for option, suffix in files.items()]


def _configure(folder: Path, with_accounting: bool) -> int | None:
    """Write the daemons' configurations; the port of the accounting daemon, if there is to be one."""
    controller_port, accounting_port, *ports = free_ports(2 + len(NODES))
    content = {
        "folder": folder,
        "host": socket.gethostname().split(".")[0],
        "user": getpass.getuser(),
        "controller_port": controller_port,
        "accounting_port": accounting_port if with_accounting else None,
        "nodes": dict(zip(NODES, ports, strict=True)),
        "processors": PROCESSORS,
        "first_job": 1 + secrets.randbelow(20000),
    }
    for name in ("slurm.conf", *(accounting.CONFIGURATIONS if with_accounting else ())):
        template = Path(__file__).with_name(f"{name}.j2").read_text(encoding="utf-8")
        text = jinja2.Template(template, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(content)
        path = folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)  # slurmdbd insists on it
    return content["accounting_port"]


def _idle_nodes(slurm: Slurm) -> int:
    try:
        return slurm.client("sinfo", "--noheader", "--Node", "--partition=main", "--states=idle").count("\n")
    except subprocess.SubprocessError:
        return 0


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
    """Whether a process belongs to a job of this SLURM, or is the daemon of one.

    A job's processes have this SLURM's configuration in their environment. The daemon clears its environment and
    rewrites its name, but logs into this SLURM's folder.
    """
    if process.info["name"].startswith("slurmstepd"):
        return any(Path(file.path).is_relative_to(folder) for file in process.open_files())
    return process.environ().get("SLURM_CONF") == str(folder / "slurm.conf")
