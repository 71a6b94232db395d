"""What a job asks of the cluster."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from pipeline.errors import UsageError

# minutes · minutes:seconds · hours:minutes:seconds · days-hours · days-hours:minutes · days-hours:minutes:seconds
_TIME = re.compile(r"(?:(?P<days>[0-9]{1,6})-(?=[0-9]))?(?P<parts>[0-9]{1,9}(?::[0-9]{1,9}){0,2})")
_UNITS = (3600, 60, 1)
# What to give instead of options of sbatch that the script sets itself: of two, one would be lost without a word.
_OWN = {
    "--account": ("account", "A"),
    "--cpus-per-process": ("cpus-per-task", "c"),
    "--gpus-per-node": ("gpus-per-node", "G"),
    "--jobs": ("chdir", "D", "output", "o", "open-mode"),
    "--most-requeues": ("requeue", "no-requeue"),
    "--nodes": ("nodes", "N"),
    "--partition": ("partition", "p"),
    "--processes-per-node": ("ntasks-per-node", "n"),
    "--seconds-to-save": ("signal",),
    "--time": ("time", "t"),
    "name=…": ("job-name", "J"),
    "several recipes, or --seeds": ("array", "a"),
}


@dataclass(frozen=True)
class Resources:
    """Nodes, processes and time of one job; of each task, where it is an array.

    Attributes:
        time: the limit as SLURM writes it; None is the partition's own.
        seconds_to_save: how long before the limit the run is told to save and leave.

    Raises:
        UsageError: naming the option at fault.
    """

    nodes: int
    gpus_per_node: int
    processes_per_node: int
    cpus_per_process: int = 1
    time: str | None = None
    seconds_to_save: int = 180
    partition: str | None = None
    account: str | None = None
    further: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.gpus_per_node and self.processes_per_node != self.gpus_per_node:
            raise UsageError(
                f"--processes-per-node {self.processes_per_node}: there is one process for each of "
                f"{self.gpus_per_node} GPUs; it is to be chosen with --gpus-per-node 0 only"
            )
        for option in self.further:
            if not option.startswith("-") or "\n" in option or not _can_be_split(option):
                raise UsageError(f"--sbatch '{option}': must be an option of sbatch, such as --sbatch=--exclusive")
            if (instead := _instead(option)) is not None:
                raise UsageError(f"--sbatch '{option}': is set by deps submit; use {instead}")
        if self.time is not None and seconds(self.time) <= self.seconds_to_save:
            raise UsageError(
                f"--time {self.time}: must be longer than the {self.seconds_to_save} s that are left for saving "
                "before it is up (--seconds-to-save)"
            )

    @property
    def processes(self) -> int:
        """Of the run, over all nodes."""
        return self.nodes * self.processes_per_node


def _can_be_split(option: str) -> bool:
    """Whether its quotation marks go in pairs, as sbatch and the shell read them."""
    try:
        return bool(shlex.split(option))
    except ValueError:
        return False


def _instead(option: str) -> str | None:
    """What to give instead of `option`, whose name sbatch also takes cut short, as --part; None where it may stay."""
    name = re.split(r"[=\s]", option, maxsplit=1)[0]
    for instead, own in _OWN.items():
        long = any(len(each) > 1 and f"--{each}".startswith(name) for each in own)
        if long if name.startswith("--") else name[1:2] in own:
            return instead
    return None


def seconds(time: str) -> int:
    """A SLURM time limit in seconds.

    Raises:
        UsageError: naming the forms that are legal.
    """
    match = _TIME.fullmatch(time)
    if match is None:
        raise UsageError(f"--time {time}: must be minutes, hours:minutes:seconds or days-hours:minutes:seconds")
    parts = [int(part) for part in match["parts"].split(":")]
    # After days come hours; without them a single number is minutes, and two are minutes and seconds.
    units = _UNITS if match["days"] is not None or len(parts) == 3 else _UNITS[1:]
    total = int(match["days"] or 0) * 86400 + sum(part * unit for part, unit in zip(parts, units, strict=False))
    if total == 0:
        raise UsageError(f"--time {time}: must be longer than nothing")
    return total
