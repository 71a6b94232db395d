"""SGD as the once-for-all literature uses it: Nesterov momentum, no weight decay on batch norm and biases."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from pipeline.by_name import ByName
from pipeline.engines.eager_sgd import EagerSGD
from pipeline.errors import UsageError

MOMENTUM = "momentum_buffer"  # in the state of either implementation


class SgdConfig(BaseModel):
    """The recipe's `optimizer` for SGD with momentum."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.9, gt=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=3e-5, ge=0)
    gradient_clip: float | None = Field(default=None, gt=0, description="greatest global gradient norm")
    gradient_clip_value: float | None = Field(
        default=None, gt=0, description="greatest absolute value of any element of the gradient"
    )
    implementation: Literal["torch", "apex"] = Field(
        default="torch", description="torch: its fused SGD; apex: NVIDIA apex's FusedSGD"
    )

    @model_validator(mode="after")
    def _check(self) -> SgdConfig:
        if self.gradient_clip is not None and self.gradient_clip_value is not None:
            raise ValueError("gradient_clip_value: cannot be had with gradient_clip, which clips by the norm")
        return self

    def build(self, groups: list[dict[str, Any]], device: torch.device) -> torch.optim.Optimizer:
        """SGD over groups of parameters on `device`, in one kernel; the rate is set by each step.

        Raises:
            UsageError: where apex is asked for and cannot be had.
        """
        if self.implementation == "apex":
            return _apex_sgd(device)(groups, lr=0.0, momentum=self.momentum, nesterov=self.nesterov)
        return EagerSGD(groups, lr=0.0, momentum=self.momentum, nesterov=self.nesterov, fused=True)


OptimizerConfig = Annotated[SgdConfig, ByName(default="sgd")]  # the recipe's `optimizer`


def build_optimizer(parameters: Sequence[nn.Parameter], config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimizer that a recipe names, over all parameters, whole or shards of them.

    Raises:
        UsageError: where it cannot be had here.
    """
    decayed = [parameter for parameter in parameters if parameter.ndim > 1]
    undecayed = [parameter for parameter in parameters if parameter.ndim <= 1]  # batch norm and biases
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    optimizer = config.build(groups, parameters[0].device)
    if (most := config.gradient_clip_value) is not None:
        optimizer.register_step_pre_hook(lambda *_: _clip_elements(optimizer, most))
    return optimizer


def _clip_elements(optimizer: torch.optim.Optimizer, most: float) -> None:
    """Clip what the step is about to use: reduced gradients, in whatever shards an engine has them."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    torch.nn.utils.clip_grad_value_(parameters, most)


def start_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give every parameter the momentum zero, which optimizers themselves make in the first step only."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter][MOMENTUM] = torch.zeros_like(parameter)


def skip_unless_finite(optimizer: Any, norm: Tensor) -> None:
    """Have the next step leave weights and momentum, which must be there, as they are where `norm` is not finite.

    The device decides, in the kernel of the step itself: the host waits for nothing, and other steps stay as they were.

    Args:
        optimizer: of `build_optimizer`.
        norm: of all gradients together, a scalar on their device.
    """
    not_finite = ~norm.isfinite()
    if isinstance(optimizer, torch.optim.SGD):
        optimizer.found_inf = not_finite.float()  # pyright: ignore[reportAttributeAccessIssue] (as of torch.amp)
    else:
        optimizer._dummy_overflow_buf.copy_(not_finite)  # apex's own flag to its kernel


def _apex_sgd(device: torch.device) -> Any:
    """NVIDIA apex's FusedSGD. PyPI's `apex` is an unrelated package without the compiled `amp_C`."""
    if device.type != "cuda":
        raise UsageError(f"optimizer.implementation: 'apex' needs a CUDA device, not {device.type}; legal here: torch")
    if importlib.util.find_spec("amp_C") is None or importlib.util.find_spec("apex") is None:
        raise UsageError(
            "optimizer.implementation: 'apex' is not installed; build it from https://github.com/NVIDIA/apex with "
            "APEX_CPP_EXT=1 APEX_CUDA_EXT=1 pip install --no-build-isolation . (PyPI's apex is another package), "
            "or use torch"
        )
    return importlib.import_module("apex.optimizers").FusedSGD
