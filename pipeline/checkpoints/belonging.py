"""Whether a checkpoint can be of a run: its progress of the run's schedule, its tensors of the run's network."""

from __future__ import annotations

from pipeline.checkpoints.checkpoint import Checkpoint, Misfit, Progress
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
        return _beside_the_schedule(checkpoint.progress, schedule)

    return misfit


def _beside_the_schedule(progress: Progress, schedule: Schedule) -> str | None:
    if progress.step > schedule.steps:
        return f"it tells of step {progress.step}, the run has {schedule.steps}"
    if progress.passed_over > progress.step:
        return f"it tells of {progress.passed_over} steps passed over of {progress.step}"
    # A run that went back is at a later step than its weights, which enter the phases since before its next one.
    entered = len(schedule.entries(progress.step - 1))
    if progress.entered > entered or (progress.entered < entered and not progress.roll_backs):
        return f"at step {progress.step} the entries of {entered} phases are done, it tells of {progress.entered}"
    return None
