"""Submitting jobs to the test's SLURM with the command `deps`, and watching them."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from cluster.testing.slurm import Slurm
from tests.support.command_line import Done, deps
from tests.support.processes import REPOSITORY, small_run

SECONDS = 600  # for anything to happen on a busy machine


@dataclass(frozen=True)
class Project:
    """A folder with runs/ and jobs/ of its own, in which `deps` is called as people call it."""

    folder: Path
    slurm: Slurm
    digits: Path

    def deps(self, *arguments: object) -> Done:
        """What the command says, and what SLURM's clients tell it; of the jobs, all processes are real ones."""
        environment = {"PYTHONPATH": str(REPOSITORY), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
        return deps(*arguments, cwd=self.folder, environment={**self.slurm.environment, **environment})

    def submit(self, *arguments: object, nodes: int = 2) -> tuple[int, Path]:
        """Submit 32 steps on the digits, one process a node; the number of the job and its folder.

        By DDP, which starts in half of DeepSpeed's time, where `arguments` do not say otherwise.
        """
        recipe, *overrides = small_run(self.digits, Path("runs"))
        # Some tests suspend a process for a while.
        overrides += [f"engine={{name: {'single' if nodes == 1 else 'ddp'}, lost_after: {SECONDS}}}"]
        on = ["--nodes", nodes, "--gpus-per-node", 0, "--processes-per-node", 1, "--json"]
        done = self.deps("submit", recipe, *overrides, *on, *arguments)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        return told["job"], Path(told["folder"])

    def status(self, *runs: str) -> list[dict[str, Any]]:
        """What `deps status` says of these runs, or of all."""
        done = self.deps("status", *(self.run(name) for name in runs), "--all", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def run(self, name: str) -> Path:
        return self.folder / "runs" / name

    def steps(self, name: str) -> int:
        """How many rows of metrics a run has, one for each step."""
        metrics = self.run(name) / "metrics.jsonl"
        return metrics.read_text().count("\n") if metrics.exists() else 0

    def states(self, job: int) -> set[str]:
        """SLURM's words for the tasks of a job."""
        return set(self.slurm.client("squeue", "--noheader", "--states=all", f"--job={job}", "--format=%T").split())

    def update(self, job: int, *changes: str) -> None:
        self.slurm.client("scontrol", "update", f"JobId={job}", *changes)

    def minutes(self, job: int) -> int:
        """How long a job has been running, rounded."""
        began = self.slurm.client("squeue", "--noheader", f"--job={job}", "--format=%S").strip()
        return round((datetime.now() - datetime.fromisoformat(began)).total_seconds() / 60)

    def wait_for_end(self, job: int, *states: str) -> None:
        """Wait until the job and all its tasks are over, and see that they are in one of `states`."""
        over = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}
        wait_until(lambda: self.states(job) <= over, lambda: self.log(job))
        assert self.states(job) <= set(states), self.log(job)

    def log(self, job: int) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.glob(f"jobs/*/log-{job}*.txt")))

    def suspend(self, job: int, name: str, steps: int, rank: int = 0) -> psutil.Process:
        """Suspend a process of the run once it has done `steps` steps, so that it does not end before what comes."""
        wait_until(lambda: self.steps(name) > 0, lambda: self.log(job))
        process = self.process(job, rank)  # looking for it takes its time, in which the run goes on
        wait_until(lambda: self.steps(name) >= steps, lambda: self.log(job))
        process.suspend()
        return process

    def process(self, job: int, rank: int) -> psutil.Process:
        """The training process of that rank."""
        for process in psutil.process_iter(["cmdline"]):
            command = process.info["cmdline"] or [""]
            if "python" in command[0] and command[1:4] == ["-u", "-m", "pipeline.train"]:
                environment = process.environ()
                told = environment.get("RANK", environment.get("SLURM_PROCID"))
                ours = environment.get("SLURM_CONF") == self.slurm.environment["SLURM_CONF"]
                if ours and (environment["SLURM_JOB_ID"], told) == (str(job), str(rank)):
                    return process
        raise AssertionError(f"job {job} has no process of rank {rank}")


def wait_until(happened: Callable[[], bool], tell: Callable[[], str] = str) -> None:
    """Wait for something that must happen, and fail with what `tell` says where it does not."""
    deadline = time.monotonic() + SECONDS
    while not happened():
        assert time.monotonic() < deadline, tell()
        time.sleep(0.05)
