"""How much memory decoded images may take: what the machine has to spare beside the evaluation itself."""

from __future__ import annotations

import socket
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import psutil

from pipeline.processes.group import Processes
from pipeline.supernet.blocks import BLOCKS
from pipeline.supernet.layer import BlockShape
from pipeline.supernet.shapes import parts
from pipeline.supernet.space import Space


class _Version(NamedTuple):
    """What the files of a control group are called."""

    folder: str
    limit: str
    taken: str
    cached: str  # a line of memory.stat


# By the controllers that /proc/self/cgroup names.
_VERSIONS = {
    "": _Version("", "memory.max", "memory.current", "inactive_file"),
    "memory": _Version("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")
_FLOAT = 4  # bytes
_WITHIN = 3  # tensors of a block's largest layer at one time: what it reads, what it writes, and what they came from


def room_for_images(space: Space, batch: int, processes: Processes) -> int:
    """Bytes that each process of this machine may keep images in. All processes must call it, before any keeps some.

    Args:
        batch: images that are computed at one time.
    """
    hosts = Counter(processes.gathered([socket.gethostname()]))
    here = available_bytes() // hosts[socket.gethostname()]
    on_host = processes.device.type == "cpu"
    return max(here - (batch * activation_bytes(space) if on_host else 0), 0)


def activation_bytes(space: Space) -> int:
    """Bytes of activations that one image needs at a time where subnets are computed together (`SubnetTree`).

    Those of the largest subnet: the outputs of all its parts, and what is within the largest of them.
    """
    kept, within = 0, 0
    stem, stages, head = parts(space, space.on_images(space.largest(), space.image_sides[-1]))
    for part in (*stem, *stages, *head):
        layers = BLOCKS[part.kind].layers(part) if isinstance(part, BlockShape) else (part,)
        sizes = [layer.outputs * layer.side**2 for layer in layers]
        kept += part.outputs * layers[-1].side ** 2
        within = max(within, *sizes)
    return _FLOAT * (kept + _WITHIN * within)


def available_bytes(own: Path = _OWN, cgroups: Path = _CGROUPS) -> int:
    """Memory that this process can still take: of the machine, and of the control groups that it is in.

    Args:
        own, cgroups: where the system tells the groups of this process, and of each group its limit.
    """
    free = psutil.virtual_memory().available
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return free
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if (version := _VERSIONS.get(controllers)) is None:
            continue
        root = cgroups / version.folder
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root) and (left := _left(folder, version)) is not None:
                free = min(free, left)
    return max(free, 0)


def _left(group: Path, version: _Version) -> int | None:
    """Bytes left in a control group, cached files not counted as taken; None where it has no limit."""
    try:
        limit, current, stat = (
            (group / name).read_text(encoding="utf-8") for name in (version.limit, version.taken, "memory.stat")
        )
        most, taken, statistics = int(limit), int(current), dict(line.split() for line in stat.splitlines())
    except (OSError, ValueError):  # it is not there, or its limit is "max"
        return None
    return most - taken + int(statistics.get(version.cached, 0))
