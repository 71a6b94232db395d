"""What a slot's subnet learns from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from torch import Tensor

from kernels.losses.choice import Losses
from pipeline.by_name import ByName

Network = Literal["full", "teacher"]  # whose soft labels are learned from: the step's full model, or the frozen teacher


class Targets(NamedTuple):
    """What there is to learn from in a step.

    Attributes:
        labels: int64 [N], or float [N, classes] whose rows sum to one.
        full: logits [N, classes] of this step's full model, detached; None until its sub-step is done.
        teacher: logits of the frozen teacher; None where there is none.
    """

    labels: Tensor
    full: Tensor | None = None
    teacher: Tensor | None = None

    def of(self, network: Network) -> Tensor:
        """The logits of a network that is learned from."""
        logits = self.teacher if network == "teacher" else self.full
        assert logits is not None, f"the logits of {network} come first"
        return logits


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
    """τ² · CE with another network's soft labels, alone.

    Of the step's full model it is in-place distillation (Yu and Huang, ICCV 2019).

    Attributes:
        of: whose soft labels.
        temperature: τ.
    """

    of: Network
    temperature: float

    @property
    def needs_teacher(self) -> bool:
        return self.of == "teacher"

    def __call__(self, logits: Tensor, targets: Targets, kernels: Losses) -> Tensor:
        return kernels.soft_cross_entropy(logits, targets.of(self.of), self.temperature)


@dataclass(frozen=True)
class AlphaDivergence:
    """Adaptive α-divergence from another network's soft labels (AlphaNet, Wang et al., ICML 2021, §3).

    Attributes:
        of: whose soft labels.
        temperature: τ, by which all logits are divided; the loss is multiplied by its square.
        alphas: of which each sample takes the one with the greater divergence.
        clip: β, what (p/q)^α is at most.
    """

    of: Network
    temperature: float
    alphas: tuple[float, float]
    clip: float

    @property
    def needs_teacher(self) -> bool:
        return self.of == "teacher"

    def __call__(self, logits: Tensor, targets: Targets, kernels: Losses) -> Tensor:
        return kernels.alpha_divergence(logits, targets.of(self.of), self.temperature, self.alphas, self.clip)


@dataclass(frozen=True)
class WeightedSum:
    """The sum of losses, each times its factor."""

    terms: tuple[tuple[float, Loss], ...]

    @property
    def needs_teacher(self) -> bool:
        return any(loss.needs_teacher for _, loss in self.terms)

    def __call__(self, logits: Tensor, targets: Targets, kernels: Losses) -> Tensor:
        return torch.stack([factor * loss(logits, targets, kernels) for factor, loss in self.terms]).sum()


class SoftCrossEntropyConfig(BaseModel):
    """The recipe's `loss.soft` for cross-entropy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["cross_entropy"] = "cross_entropy"

    def build(self, of: Network, temperature: float) -> Loss:
        return SoftCrossEntropy(of, temperature)


class AlphaDivergenceConfig(BaseModel):
    """The recipe's `loss.soft` for the α-divergence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["alpha"] = "alpha"
    alphas: tuple[float, float] = Field(
        default=(-1.0, 1.0), description="α₋ and α₊, of which each sample takes the one that diverges more"
    )
    clip: float = Field(default=5.0, gt=0, allow_inf_nan=False, description="β, what (p/q)^α is at most")

    @field_validator("alphas")
    @classmethod
    def _check(cls, alphas: tuple[float, float]) -> tuple[float, float]:
        if not all(abs(alpha) <= _MOST_ALPHA for alpha in alphas):
            raise ValueError(f"must be two numbers from -{_MOST_ALPHA} to {_MOST_ALPHA}")
        return alphas

    def build(self, of: Network, temperature: float) -> Loss:
        return AlphaDivergence(of, temperature, self.alphas, self.clip)


_MOST_ALPHA = 100
# What subnets learn from soft labels by; a new one is a class here, with its name.
SoftLossConfig = Annotated[SoftCrossEntropyConfig | AlphaDivergenceConfig | None, ByName()]


class LossConfig(BaseModel):
    """The recipe's `loss`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    temperature: float = Field(default=1.0, gt=0, le=1e6, description="τ of in-place distillation")
    soft: SoftLossConfig = Field(
        default=None,
        description="what subnets learn from soft labels by; by default what the method names, mostly cross_entropy",
    )

    def of_labels(self) -> LabelCrossEntropy:
        return LabelCrossEntropy(self.label_smoothing)

    def of_labels_and_teacher(self, ratio: float) -> Loss:
        """Label cross-entropy + `ratio` · what is learned from the frozen teacher's soft labels (OFA's κ)."""
        if not ratio:
            return self.of_labels()
        return WeightedSum(((1.0, self.of_labels()), (ratio, self.of_network("teacher"))))

    def of_network(self, of: Network, own: SoftLossConfig = None) -> Loss:
        """What learns from the soft labels of a network.

        Args:
            own: the method's, where the recipe names none; None for cross-entropy.
        """
        return (self.soft or own or SoftCrossEntropyConfig()).build(of, self.temperature)
