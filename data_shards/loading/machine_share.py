"""How many workers read ahead, and how far, where the recipe leaves it to the machine (`auto`)."""

from __future__ import annotations

import math
import os

import torch

_MOST_WORKERS = 16  # more only pay where a process has a GPU that outruns as many cores
_LEAST_READY = 4  # batches, over all workers, so that one slow batch keeps nobody waiting


def workers_here() -> int:
    """Workers for this process: with a GPU, its share of the machine's cores but for one, which trains; else one.

    Without a GPU the cores are the training's own, and one worker is enough for as much as they can train.
    """
    if not torch.cuda.is_available():
        return 1
    return min(max(cores_here() - 1, 1), _MOST_WORKERS)


def cores_here() -> int:
    """This process's share of the cores that it may run on.

    torchrun and DeepSpeed's launcher tell how many processes share what they were given themselves. What srun starts
    has cores of its own, also on clusters that do not bind processes to them.
    """
    cores = len(os.sched_getaffinity(0))
    for name in ("LOCAL_WORLD_SIZE", "LOCAL_SIZE"):
        if processes := _number(name):
            return max(cores // processes, 1)
    return min(_number("SLURM_CPUS_PER_TASK") or cores, cores)


def _number(name: str) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else 0


def batches_ahead(workers: int) -> int:
    """Batches that each of `workers` has ready: two, and more where they are few."""
    return max(2, math.ceil(_LEAST_READY / max(workers, 1)))
