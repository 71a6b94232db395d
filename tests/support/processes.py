"""Starting a worker script on several processes of this machine, as a launcher would; by gloo, or on its GPUs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.support.forked_program import REPOSITORY, Forked

Program = Forked | subprocess.Popen[str]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(rank: int, world: int, port: int, on_gpus: bool = False) -> dict[str, str]:
    """Without `on_gpus` a machine's GPUs are hidden, as there may be fewer than processes."""
    launched = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return {
        **os.environ,
        **{name: str(value) for name, value in launched.items()},
        **({} if on_gpus else {"CUDA_VISIBLE_DEVICES": ""}),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(REPOSITORY),
    }


def start(
    command: list[str],
    world: int,
    cwd: Path = REPOSITORY,
    each: list[list[str]] | None = None,
    on_gpus: bool = False,
    fresh: bool = False,
) -> list[Program]:
    """Start `python command…` on `world` processes, their output captured together.

    Args:
        each: adds arguments by rank.
        fresh: import all by themselves, as real ones do, and those on GPUs.
    """
    port, programs = free_port(), []
    for rank in range(world):
        arguments = [*command, *(each[rank] if each else [])]
        its = environment(rank, world, port, on_gpus)
        programs.append(start_fresh(arguments, its, cwd) if fresh or on_gpus else Forked(arguments, its, cwd))
    return programs


def start_fresh(command: list[str], environment: dict[str, str], cwd: Path) -> subprocess.Popen[str]:
    """Start `python command…` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, *command],
        env=environment,
        cwd=cwd,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run(
    command: list[str], world: int, cwd: Path = REPOSITORY, timeout: float = 600, on_gpus: bool = False
) -> list[str]:
    """Run to the end on `world` processes and return their outputs; fails where one does not exit with 0."""
    started = start(command, world, cwd, on_gpus=on_gpus)
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    for process, output in zip(started, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


def small_run(digits: Path, runs: Path) -> list[str]:
    """Recipe and overrides of a run of 32 steps on the digits through all phases, in the folder `runs`/NAME.

    It reads by itself: a process that reads ahead takes longer to start than all the rest. Tests in which signals,
    damage or losses come by those ask for `data.workers=1`.
    """
    return [
        str(REPOSITORY / "recipes" / "digits.yaml"),
        f"runs={runs}",
        f"data.shards={digits}",
        "data.workers=0",
        "batch_size=16",
        "space.resolutions=[24,32]",
        "schedule.duration=32 steps",
        "schedule.full_model_warmup=14 steps",
        "schedule.epsilon_ramp=5 steps",
        "schedule.learning_rate={base: 0.05}",
        "evaluation={every: 16 steps, recalibration_samples: 64, batch_size: 64, full_when_shrinking: 0}",
        "checkpoint={every: 4 steps, keep: 3}",
        "log_every=1 steps",
        "tracking.mlflow=false",
    ]
