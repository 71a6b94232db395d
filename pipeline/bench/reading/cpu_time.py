"""CPU time of a process with all its threads and all processes that it has started, running or ended."""

from __future__ import annotations

import resource
import time
from contextlib import suppress

import psutil


def cpu_seconds() -> float:
    """User and system time so far of this process, its threads and its descendants; of the latter to 10 ms.

    The time of a descendant that has ended is in that of the process that waited for it.
    """
    waited_for = resource.getrusage(resource.RUSAGE_CHILDREN)
    total = time.process_time() + waited_for.ru_utime + waited_for.ru_stime
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ends just now; its time is its parent's from then on
            total += sum(process.cpu_times()[:4])  # its own, and of those that it waited for; not waiting for disks
    return total
