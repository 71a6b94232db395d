"""What a slot's subnet learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from kernels.losses.choice import Losses


class Targets(NamedTuple):
    """What there is to learn from in a step.

    `labels`: int64 [N], or float [N, classes] whose rows sum to one. `full`: logits [N, classes] of this step's full
    model, detached; None until its sub-step is done. `teacher`: logits of the frozen teacher; None where there is none.
    """

    labels: Tensor
    full: Tensor | None = None
    teacher: Tensor | None = None


class Loss(Protocol):
    """Mean loss over the batch, before the slot's factor; `kernels` compute what there is in several versions."""

    @property
    def needs_teacher(self) -> bool: ...

    def __call__(self, logits: Tensor, targets: Targets, kernels: Losses) -> Tensor: ...


@dataclass(frozen=True)
class LabelCrossEntropy:
    """Cross-entropy with the labels, smoothed (mixed ones too)."""

    smoothing: float
    needs_teacher = False

    def __call__(self, logits: Tensor, targets: Targets, kernels: Losses) -> Tensor:
        return F.cross_entropy(logits, targets.labels, label_smoothing=self.smoothing)


@dataclass(frozen=True)
class SoftCrossEntropy:
    """τ² · CE with another network's soft labels, alone (METHOD §2.5).

    Attributes:
        of: the step's full model (in-place distillation), or the frozen teacher.
        temperature: τ.
    """

    of: Literal["full", "teacher"]
    temperature: float

    @property
    def needs_teacher(self) -> bool:
        return self.of == "teacher"

    def __call__(self, logits: Tensor, targets: Targets, kernels: Losses) -> Tensor:
        soft = targets.teacher if self.of == "teacher" else targets.full
        assert soft is not None, f"the logits of {self.of} come first"
        return kernels.soft_cross_entropy(logits, soft, self.temperature)


class LossConfig(BaseModel):
    """The recipe's `loss`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    temperature: float = Field(default=1.0, gt=0, le=1e6, description="τ of in-place distillation")

    def of_labels(self) -> LabelCrossEntropy:
        return LabelCrossEntropy(self.label_smoothing)

    def soft(self, of: Literal["full", "teacher"]) -> SoftCrossEntropy:
        return SoftCrossEntropy(of, self.temperature)
