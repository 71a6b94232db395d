"""What the full model and the subnets learn from."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from kernels.losses.choice import losses_for
from kernels.operations import Operations
from pipeline.training.schedule import Slot


class LossConfig(BaseModel):
    """The recipe's `loss`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    temperature: float = Field(default=1.0, gt=0, le=1e6, description="τ of in-place distillation")


def slot_loss(
    slot: Slot,
    logits: Tensor,
    labels: Tensor,
    teacher_logits: Tensor | None,
    config: LossConfig,
    operations: Operations,
) -> Tensor:
    """Mean loss of a sub-step, before its factor ε.

    From labels: cross-entropy with label smoothing. From the full model: τ² · CE with its soft labels of the same
    step, alone (IKD-Warmup, METHOD §2.5).

    Args:
        logits: [N, classes]; labels: int64 [N], or float [N, classes] whose rows sum to one; both are smoothed.
        teacher_logits: [N, classes], detached; only None where the slot learns from labels.
    """
    if slot.learns_from == "labels":
        return F.cross_entropy(logits, labels, label_smoothing=config.label_smoothing)
    assert teacher_logits is not None, "the full model's sub-step comes first"
    return losses_for(operations.name).soft_cross_entropy(logits, teacher_logits, config.temperature)
