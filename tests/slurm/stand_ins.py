"""Stand-ins for SLURM's clients, and folders of jobs that were never submitted."""

from datetime import datetime, timezone
from pathlib import Path

import pytest

from cluster.job_folder import JobRecord

MIDNIGHT = 1795392000  # of 2026-11-23, in Unix seconds


class Clients:
    """Stand-ins for squeue and sacct, which print what they are given."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "bin"
        self.folder.mkdir()
        monkeypatch.setenv("PATH", f"{self.folder}:/usr/bin:/bin")
        self.print("squeue", "")
        self.print("sacct", "")

    def print(self, name: str, text: str) -> None:
        answer = self.folder / f"{name}.txt"
        answer.write_text(text)
        self.does(name, f"cat {answer}")

    def does(self, name: str, command: str) -> None:
        program = self.folder / name
        program.write_text(f"#!/bin/sh\n{command}\n")
        program.chmod(0o755)


def make_job(folder: Path, number: int, *runs: Path, noted: str = "", nodes: int = 1, processes: int = 1) -> None:
    """The folder of a job that was submitted `number` seconds after `MIDNIGHT`."""
    job = folder / "jobs" / f"job-{number}"
    job.mkdir(parents=True)
    names = tuple(str(run) for run in runs)
    submitted = datetime.fromtimestamp(MIDNIGHT + number, timezone.utc).isoformat()
    JobRecord(names, "deepspeed", nodes, processes, submitted, number).write(job)
    (job / "ends.txt").write_text(noted)
