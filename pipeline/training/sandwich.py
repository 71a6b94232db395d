"""One training step: every slot's subnet on the same batch, then one update.

The gradient is the sum over the slots of scale · ∇loss: for DεpS ∇L_full + ε·(∇L_smallest + Σ ∇L_random), a sum and not
a mean (ECCV 2024, §3; the sandwich rule is BigNAS's, Yu et al., ECCV 2020, §3.1).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor

from kernels.losses.choice import losses_for
from pipeline.engines.protocol import Engine
from pipeline.methods.losses import Targets
from pipeline.methods.phases import StepPlan
from pipeline.training.candidates import picked
from pipeline.training.shared_trunk import SharedTrunk


@dataclass(frozen=True)
class StepResult:
    """Of one step on this process, still on the device, so that no step waits for it.

    Attributes:
        plan: as it was trained, with the candidates that were picked.
        losses: mean loss per slot, in the plan's order, before its scale.
        correct: how many of the batch the full model had right; of mixed images, their greater part. None where the
            step does not train it.
        gradient_norm: global norm before clipping.
        worked_until: time.perf_counter() when the last sub-step's backward pass began, in which processes meet.
    """

    plan: StepPlan
    losses: tuple[Tensor, ...]
    correct: Tensor | None
    gradient_norm: Tensor
    worked_until: float


def sandwich_step(engine: Engine, plan: StepPlan, images: Tensor, labels: Tensor) -> StepResult:
    """Train every subnet of `plan` on one batch, and update once.

    Args:
        images: normalised float [N, 3, H, W]; labels: int64 [N], or float [N, classes] for mixed images.
    """
    is_full = engine.supernet.space.is_full
    taught = any(slot.loss.needs_teacher for slot in plan.slots)
    targets = Targets(labels, teacher=engine.teacher.logits(images) if taught else None)
    trunk = SharedTrunk(engine.supernet.trunk(images, any(is_full(slot.subnet) for slot in plan.slots)))
    kernels = losses_for(engine.supernet.operations(images.device.type).name)
    plan = picked(engine, plan, trunk, targets, kernels)
    losses: list[Tensor] = []
    correct: Tensor | None = None
    worked_until = time.perf_counter()
    for index, slot in enumerate(plan.slots):
        last = index == len(plan.slots) - 1
        logits = engine.forward(trunk.for_sub_step(last), slot.subnet, last)
        loss = slot.loss(logits, targets, kernels)
        worked_until = time.perf_counter()
        engine.backward(slot.scale * loss, last)
        losses.append(loss.detach())
        if is_full(slot.subnet):
            targets = targets._replace(full=logits.detach())
            dominant = labels if labels.ndim == 1 else labels.argmax(1)
            correct = (logits.detach().argmax(1) == dominant).sum()
    gradient_norm = engine.step(plan.learning_rate)
    return StepResult(plan, tuple(losses), correct, gradient_norm, worked_until)
