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
    return min(max(len(os.sched_getaffinity(0)) // processes_here() - 1, 1), _MOST_WORKERS)


def processes_here() -> int:
    """Processes of this run on this machine, as its launcher tells them (torchrun, deepspeed, SLURM)."""
    for name in ("LOCAL_WORLD_SIZE", "LOCAL_SIZE", "SLURM_NTASKS_PER_NODE"):
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value):
            return int(value)
    return 1


def batches_ahead(workers: int) -> int:
    """Batches that each of `workers` has ready: two, and more where they are few."""
    return max(2, math.ceil(_LEAST_READY / max(workers, 1)))
