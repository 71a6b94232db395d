"""A method's phases as a table of text, which tests state."""

from __future__ import annotations

from collections import Counter

from pipeline.methods.phases import Phase
from pipeline.methods.schedule import Schedule


def table(schedule: Schedule) -> list[str]:
    """For each phase: name, steps, subnets per step, rate at its first and last step, and what entering it does."""
    return [_row(phase) for phase in schedule.phases]


def _row(phase: Phase) -> str:
    slots = " + ".join(f"{count} {name}" for name, count in Counter(phase.slot_names).items())
    entries = ", ".join(getattr(entry, "__name__", type(entry).__name__) for entry in phase.enter)
    rates = f"{phase.rate(phase.start):.4g} to {phase.rate(phase.end - 1):.4g}"
    return " | ".join([phase.name, f"{phase.start}-{phase.end}", slots, rates, *([entries] if entries else [])])
