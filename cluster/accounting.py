"""What SLURM's accounting says that a run cost, beside the run's own ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.slurm import LIVE, WAITING, Accounts, Held

SHARE = 0.01  # of SLURM's hours, by which a ledger may differ
# Of each start: both count whole seconds, and the script begins after SLURM has given the nodes, and ends before SLURM
# takes them back.
SECONDS_PER_START = 4
# A start that SLURM ends counts up to the order, though its nodes are held while its processes save and leave: for at
# most SLURM's KillWait, then they are killed. 30 s is its default.
SECONDS_TO_LEAVE = 30
_CLOCKS_DIFFER = 3600  # seconds, at most, between the machine of `deps submit` and the controller

_ENDED_BY_SLURM = {"CANCELLED", "TIMEOUT", "DEADLINE", "PREEMPTED", "REQUEUED"}
_RUNNING = LIVE - WAITING


@dataclass(frozen=True)
class JobOfRun:
    """A job that a run was in, or the run's task of it where it is an array.

    Attributes:
        place: in the array; 0 of a job that is none.
        submitted: Unix seconds.
        accelerators_per_node: or CPU processes, as the ledger counts them.
    """

    number: int
    place: int
    submitted: float
    accelerators_per_node: int

    def starts(self, accounts: Accounts) -> list[Held] | None:
        """Its starts, the newest last; None where the accounting does not know the job.

        An older job whose number was given out again is another one.
        """
        since = self.submitted - _CLOCKS_DIFFER
        tasks = accounts.get(self.number, {})
        if not any(held.submitted >= since for starts in tasks.values() for held in starts):
            return None
        return [held for held in tasks.get(self.place, ()) if held.submitted >= since]


@dataclass(frozen=True)
class AccountedCost:
    """A run's cost by SLURM's accounting.

    Attributes:
        hours: accelerators × hours held, over all starts of all jobs; up to now for one that runs.
        slack: hours by which a ledger may differ, as seconds are whole and scripts shorter than their jobs.
        leaving: hours that a ledger may have beyond that, of starts that SLURM ended.
        running: whether a start has not ended, so that ledger and accounting are not of the same moment.
    """

    hours: float
    slack: float
    leaving: float
    running: bool

    def contradicts(self, hours: float) -> bool:
        """Whether a ledger with `hours` counts something else than SLURM."""
        slack = max(self.slack, SHARE * self.hours)
        return not self.running and not self.hours - slack <= hours <= self.hours + slack + self.leaving


def accounted_cost(jobs: Sequence[JobOfRun], accounts: Accounts) -> AccountedCost | None:
    """The cost of a run that was in `jobs`; None where the accounting does not know all of them."""
    hours = slack = leaving = 0.0
    running = False
    for job in jobs:
        starts = job.starts(accounts)
        if starts is None:
            return None
        for held in starts:
            accelerators = held.nodes * job.accelerators_per_node
            hours += accelerators * held.seconds / 3600
            slack += accelerators * min(held.seconds, SECONDS_PER_START) / 3600
            if held.state in _ENDED_BY_SLURM and held.seconds:
                leaving += accelerators * SECONDS_TO_LEAVE / 3600
            running |= held.state in _RUNNING
    return AccountedCost(hours, slack, leaving, running)
