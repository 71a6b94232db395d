"""Which process of how many this one is, as its launcher tells in the environment.

Imports nothing heavy: what every process meets alike is told by the first one, before anything else is loaded.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from pipeline.errors import UsageError

_MOST = 1 << 20  # processes


class Place(NamedTuple):
    """This process among those of the run, `rank` of `world`, and `local` of those on this machine."""

    rank: int
    world: int
    local: int


def place() -> Place:
    """The place that the environment tells; a plain start is alone.

    Raises:
        UsageError: naming the variable that is no number or is missing, or the two that do not fit.
    """
    _adopt_slurm_ranks()
    world = _number("WORLD_SIZE", 1, _MOST, default=1)
    rank, local = _number("RANK", default=0), _number("LOCAL_RANK", default=0)
    if rank >= world:
        raise UsageError(f"environment variables RANK={rank}, WORLD_SIZE={world}: ranks are 0 to WORLD_SIZE - 1")
    missing = [name for name in ("RANK", "MASTER_ADDR", "MASTER_PORT") if not os.environ.get(name)]
    if world > 1 and missing:
        raise UsageError(f"{world} processes need {' and '.join(missing)}; start them with deepspeed or torchrun")
    if world > 1:
        _number("MASTER_PORT", 1, 65535)
    return Place(rank, world, local)


def has_a_spokesman() -> bool:
    """Whether another process, the first of the run, tells what all of them meet."""
    for rank, world in (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS")):
        try:
            return 0 < _number(rank) < _number(world)
        except UsageError:  # not set, or to what no launcher sets: then each speaks for itself
            continue
    return False


def _adopt_slurm_ranks() -> None:
    """Take the ranks that `srun` gave its tasks, where no launcher between it and us has set any.

    The number of tasks of a step is set inside steps only: a program that a batch script starts by itself is alone,
    although the script, too, has an SLURM_PROCID, and an SLURM_NTASKS of many.
    """
    if "RANK" in os.environ or "SLURM_STEP_NUM_TASKS" not in os.environ:
        return
    for name, slurm in (("RANK", "PROCID"), ("LOCAL_RANK", "LOCALID"), ("WORLD_SIZE", "STEP_NUM_TASKS")):
        if f"SLURM_{slurm}" in os.environ:
            os.environ[name] = os.environ[f"SLURM_{slurm}"]


def _number(name: str, least: int = 0, most: int = _MOST, default: int | None = None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    value = int(text) if re.fullmatch("[0-9]{1,9}", text) else -1
    if not least <= value <= most:
        raise UsageError(f"environment variable {name}: '{text}' is no whole number from {least} to {most}")
    return value
