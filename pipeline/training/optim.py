"""SGD as the once-for-all literature uses it: Nesterov momentum, no weight decay on batch norm and biases."""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn


class OptimizerConfig(BaseModel):
    """The recipe's `optimizer`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    momentum: float = Field(default=0.9, gt=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=3e-5, ge=0)
    gradient_clip: float | None = Field(default=None, gt=0, description="greatest global gradient norm")


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.SGD:
    """SGD over all parameters; the rate is set by each step. Fused on CUDA."""
    parameters = list(model.parameters())
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    undecayed = [parameter for parameter in parameters if parameter.ndim <= 1]  # batch norm and biases
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        groups, lr=0.0, momentum=config.momentum, nesterov=config.nesterov, fused=parameters[0].is_cuda
    )
