"""How much arithmetic training asks for: what its cost is in proportion to, on whatever machine.

It is counted as the method defines it, not as it happens to be computed. Each subnet of a step counts whole, also where
its stem is computed once for all of them; what activation checkpointing computes again does not count.
"""

from __future__ import annotations

from pipeline.methods.phases import Phase, StepPlan
from pipeline.methods.schedule import Schedule
from pipeline.supernet.complexity import complexity
from pipeline.supernet.space import Space

# The backward pass computes two products for each one of the forward pass: by the weights, and by the inputs.
_FORWARD_AND_BACKWARD = 3
# Steps whose random subnets stand for all that a phase draws.
_DRAWN_STEPS = 100


def training_macs(space: Space, plan: StepPlan) -> int:
    """MACs of one image in a step: forward and backward passes of all slots, forward passes of candidates and teacher.

    Args:
        plan: as it was trained, where that is known; else of a slot's candidates the first counts as the one picked.
    """
    trained = sum(complexity(space, slot.subnet).macs for slot in plan.slots)
    tried = sum(complexity(space, subnet).macs for slot in plan.slots for subnet in slot.candidates)
    taught = any(slot.loss.needs_teacher for slot in plan.slots)
    teacher = complexity(space, space.on_images(space.largest(), plan.resolution)).macs if taught else 0
    return _FORWARD_AND_BACKWARD * trained + tried + teacher


def macs_per_image(phase: Phase, schedule: Schedule) -> float:
    """`training_macs` of a step of the phase, as a mean over steps; 0 of an empty phase."""
    drawn = range(phase.start, min(phase.end, phase.start + _DRAWN_STEPS))
    return sum(training_macs(schedule.space, schedule.at(step)) for step in drawn) / max(len(drawn), 1)
