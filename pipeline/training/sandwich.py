"""One training step: the full model, then the subnets on the same batch, then one update.

The gradient is ∇L_full + ε·(∇L_smallest + Σ ∇L_random): a sum, not a mean (METHOD §2.3; the sandwich rule is
BigNAS's, Yu et al., ECCV 2020, §3.1).
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from torch import Tensor

from pipeline.engines.protocol import Engine
from pipeline.methods.losses import LossConfig, slot_loss
from pipeline.methods.schedule import StepPlan
from pipeline.training.shared_trunk import SharedTrunk


@dataclass(frozen=True)
class StepResult:
    """Of one step on this process, still on the device, so that no step waits for it.

    Attributes:
        losses: mean loss per slot, in the plan's order, before ε.
        correct: how many of the batch the full model had right; of mixed images, their greater part. None where the
            step does not train it.
        gradient_norm: global norm before clipping.
        worked_until: time.perf_counter() when the last sub-step's backward pass began, in which processes meet.
    """

    losses: tuple[Tensor, ...]
    correct: Tensor | None
    gradient_norm: Tensor
    worked_until: float


def sandwich_step(engine: Engine, plan: StepPlan, images: Tensor, labels: Tensor, config: LossConfig) -> StepResult:
    """Train every subnet of `plan` on one batch, and update once.

    Args:
        images: normalised float [N, 3, H, W]; labels: int64 [N], or float [N, classes] for mixed images.
    """
    trunk = SharedTrunk(engine.supernet.trunk(images, any(slot.role == "full" for slot in plan.slots)))
    operations = engine.supernet.operations(images.device.type)
    losses: list[Tensor] = []
    teacher_logits: Tensor | None = None
    correct: Tensor | None = None
    worked_until = time.perf_counter()
    for index, slot in enumerate(plan.slots):
        last = index == len(plan.slots) - 1
        logits = engine.forward(trunk.for_sub_step(last), slot.subnet, last)
        loss = slot_loss(slot, logits, labels, teacher_logits, config, operations)
        worked_until = time.perf_counter()
        engine.backward(slot.scale * loss, last)
        losses.append(loss.detach())
        if slot.role == "full":
            teacher_logits = logits.detach()
            dominant = labels if labels.ndim == 1 else labels.argmax(1)
            correct = (teacher_logits.argmax(1) == dominant).sum()
    gradient_norm = engine.step(plan.learning_rate)
    return StepResult(tuple(losses), correct, gradient_norm, worked_until)
