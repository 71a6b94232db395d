"""Whether a checkpoint can be of a run: its counters of the run's schedule, its tensors of the run's network."""

from __future__ import annotations

from pipeline.checkpoints.checkpoint import Checkpoint, Counters, Misfit
from pipeline.methods.schedule import Schedule
from pipeline.supernet.belonging import difference, without_memory
from pipeline.tracking.ledger import LedgerError, LedgerRecord


def misfit_of(schedule: Schedule) -> Misfit:
    """What asks a checkpoint whether it can be one of the run with this schedule."""
    network = without_memory(schedule.space)
    weights, momentum = network.state_dict(), dict(network.named_parameters())

    def misfit(checkpoint: Checkpoint) -> str | None:
        state = checkpoint.state
        if reason := difference(weights, state.weights):
            return f"the weights are not of the run's network: {reason}"
        if reason := difference(momentum, state.momentum):
            return f"the momentum is not of the run's network: {reason}"
        if state.teacher and (reason := difference(weights, state.teacher)):
            return f"the teacher is not of the run's network: {reason}"
        try:
            LedgerRecord.from_json(checkpoint.ledger)
        except LedgerError as error:
            return str(error)
        return _beside_the_schedule(checkpoint.counters, schedule)

    return misfit


def _beside_the_schedule(counters: Counters, schedule: Schedule) -> str | None:
    if counters.step > schedule.steps:
        return f"it tells of step {counters.step}, the run has {schedule.steps}"
    if counters.passed_over > counters.step:
        return f"it tells of {counters.passed_over} steps passed over of {counters.step}"
    # After a roll-back the weights are behind the run's step: phases that began in between are entered before its next.
    entered = len(schedule.entries(counters.step - 1))
    if counters.entered > entered or (counters.entered < entered and not counters.roll_backs):
        return f"at step {counters.step} the entries of {entered} phases are done, it tells of {counters.entered}"
    return None
