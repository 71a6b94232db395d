"""Which of its candidates a slot trains: known by their losses on the step's batch (AttentiveNAS, CVPR 2021, §3.1)."""

from __future__ import annotations

from dataclasses import replace

import torch

from kernels.losses.choice import Losses
from pipeline.engines.protocol import Engine, mean_over_processes
from pipeline.methods.losses import Targets
from pipeline.methods.phases import StepPlan
from pipeline.training.shared_trunk import SharedTrunk


@torch.no_grad()
def picked(engine: Engine, plan: StepPlan, trunk: SharedTrunk, targets: Targets, kernels: Losses) -> StepPlan:
    """`plan` with the candidates that its slots pick, the same on all processes; without any, `plan` as it is.

    Candidates are computed by batch statistics, which are not kept, and without gradients and dropout. The losses are
    means over all processes, and the host waits for them once.
    """
    losses = [
        slot.pick.loss(engine.forward(trunk.for_sub_step(last=False), subnet, False), targets, kernels)
        for slot in plan.slots
        if slot.pick
        for subnet in slot.candidates
    ]
    if not losses:
        return plan
    agreed = iter(mean_over_processes(torch.stack(losses)).tolist())
    slots = [slot.picked([next(agreed) for _ in slot.candidates]) if slot.pick else slot for slot in plan.slots]
    return replace(plan, slots=tuple(slots))
