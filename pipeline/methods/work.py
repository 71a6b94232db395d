"""How much arithmetic a phase of the schedule asks for: what its cost is in proportion to."""

from __future__ import annotations

from pipeline.methods.schedule import Phase, Schedule
from pipeline.supernet.complexity import complexity

# Steps whose random subnets stand for all that a phase draws.
_DRAWN_STEPS = 100


def macs_per_image(phase: Phase, schedule: Schedule) -> float:
    """MACs of one image's forward passes through all subnets of a step, as a mean over steps; 0 of an empty phase."""
    drawn = range(phase.start, min(phase.end, phase.start + _DRAWN_STEPS))
    macs = [complexity(schedule.space, slot.subnet).macs for step in drawn for slot in schedule.at(step).slots]
    return sum(macs) / max(len(drawn), 1)
