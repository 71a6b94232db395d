"""Whether the processes keep pace: how long the others wait for the slowest one, and which that is.

Measured is what each process does before it meets the others in a step: reading, and computing up to the backward pass
that exchanges gradients. On accelerators, the latter is the time that the program takes to give out the work.
"""

from __future__ import annotations

import socket

from pipeline.processes.group import Processes

# A process is named for a steady lag only.
JUDGED_AFTER = 10.0  # seconds of training
SLOW = 0.25  # of the time that the others wait


class Pace:
    """Collects the seconds of each step until `read`."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self._worked = self._held = 0.0
        self._started = False
        self._judged = [0.0] * (processes.world + 1)  # the totals since the last judgement
        self._named: set[int] = set()

    def add(self, worked: float, held: float) -> None:
        """Add a step that took `held` seconds in all, `worked` of them before this process met the others."""
        if not self._started:  # readers start and kernels are chosen in the first step
            self._started = True
            return
        self._worked += worked
        self._held += held

    def add_wait(self, seconds: float) -> None:
        """Add what a line of the log waited for the device: time of the steps, which only gave out their work."""
        if self._held:
            self._held += seconds

    def read(self) -> tuple[dict[str, float], str | None]:
        """The share of time that the others waited since the last call, and a line that names a slow process once.

        All processes must call it together, and get the same.
        """
        world = self.processes.world
        if world == 1:
            return {}, None
        mine = [self._worked if rank == self.processes.rank else 0.0 for rank in range(world)]
        totals = self.processes.total([*mine, self._held])
        self._worked = self._held = 0.0
        if not totals[-1]:
            return {}, None
        self._judged = [before + new for before, new in zip(self._judged, totals, strict=True)]
        return {"speed/waiting_for_slowest_fraction": _waiting(totals)[1]}, self._judge()

    def _judge(self) -> str | None:
        if self._judged[-1] < JUDGED_AFTER * self.processes.world:
            return None
        slowest, share = _waiting(self._judged)
        self._judged = [0.0] * len(self._judged)
        if share < SLOW or slowest in self._named:
            return None
        self._named.add(slowest)
        host = self.processes.gathered([socket.gethostname()])[slowest]
        return f"process {slowest} on {host} is slow: the others wait for it {100 * share:.0f} % of the time"


def _waiting(totals: list[float]) -> tuple[int, float]:
    """The slowest process, and the share of time that the others wait for it on average."""
    *worked, held = totals
    world = len(worked)
    slowest = max(range(world), key=lambda rank: worked[rank])
    others = (sum(worked) - worked[slowest]) / (world - 1)
    return slowest, (worked[slowest] - others) / (held / world)
