"""How many workers read ahead, and how far, where the recipe leaves it to the machine (`auto`)."""

from __future__ import annotations

import math
import os

import torch

_MOST_WORKERS = 16  # more are of use only to a GPU that is faster than so many cores
_LEAST_READY = 4  # batches, of all workers together, so that nobody waits for a slow one


def automatic_workers() -> int:
    """Number of workers for this process.

    With a GPU, that is as many as this process has cores, less one, which trains. Without a GPU training
    takes the cores itself, and is so slow that one worker is enough.
    """
    if not torch.cuda.is_available():
        return 1
    return min(max(cores_here() - 1, 1), _MOST_WORKERS)


def cores_here() -> int:
    """Number of cores for this process, of those that it may run on.

    torchrun and DeepSpeed's launcher tell how many processes share the cores that the launcher was given. A process
    that srun has started has cores of its own, even on clusters that do not bind processes to them.
    """
    cores = len(os.sched_getaffinity(0))
    for name in ("LOCAL_WORLD_SIZE", "LOCAL_SIZE"):
        if processes := _number(name):
            return max(cores // processes, 1)
    return min(_number("SLURM_CPUS_PER_TASK") or cores, cores)


def _number(name: str) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else 0


def automatic_prefetch(workers: int) -> int:
    """Number of batches that each of `workers` has ready: two, or more where there are few workers."""
    return max(2, math.ceil(_LEAST_READY / max(workers, 1)))
