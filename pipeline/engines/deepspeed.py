"""DeepSpeed, ZeRO stages 0 to 2, corrected where a supernet's unused parameters and sub-steps need it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import Any

import torch
from torch import Tensor

from pipeline.engines.base import (
    EngineConfig,
    EngineError,
    TrainingState,
    average_running_statistics,
    copy_weights,
    fill_missing_gradients,
    load_unsharded_state,
    set_learning_rate,
    unsharded_state,
)
from pipeline.supernet.mobilenet_v3 import Supernet, Trunk
from pipeline.supernet.space import Subnet
from pipeline.training.optim import OptimizerConfig, build_optimizer

MOMENTUM = "momentum_buffer"


class DeepSpeedEngine:
    """DeepSpeed's engine with an optimizer of ours and one reduction per step.

    Args:
        batch_per_process: samples of one sub-step on this process.

    Raises:
        EngineError: where DeepSpeed is missing.
    """

    def __init__(
        self, supernet: Supernet, optimizer: OptimizerConfig, config: EngineConfig, batch_per_process: int
    ) -> None:
        deepspeed = import_deepspeed()
        self.supernet = supernet
        self.sharded = config.zero_stage > 0
        self.deepspeed, self.optimizer, _, _ = deepspeed.initialize(
            model=supernet,
            optimizer=build_optimizer(supernet, optimizer),
            config=deepspeed_config(config, optimizer, batch_per_process),
        )
        if self.sharded:
            self._create_momentum()

    def forward(self, images: Tensor | Trunk, subnet: Subnet, last: bool) -> Tensor:
        return self.deepspeed(images, subnet)

    def backward(self, loss: Tensor, last: bool) -> None:
        self.deepspeed.set_gradient_accumulation_boundary(last)
        self.deepspeed.backward(loss)

    def step(self, learning_rate: float) -> Tensor:
        set_learning_rate(self.optimizer, learning_rate)
        norm = None
        if not self.sharded:
            parameters = list(self.supernet.parameters())
            fill_missing_gradients(parameters)
            norm = torch.nn.utils.get_total_norm(
                [parameter.grad for parameter in parameters if parameter.grad is not None]
            )
        self.deepspeed.step()
        return norm if norm is not None else torch.as_tensor(self.deepspeed.get_global_grad_norm())

    def full_state(self) -> TrainingState:
        average_running_statistics(self.supernet)
        if not self.sharded:
            return unsharded_state(self.supernet, self.optimizer)
        from deepspeed.utils import safe_get_full_optimizer_state

        momentum = {
            name: _present(safe_get_full_optimizer_state(parameter, MOMENTUM)).cpu()
            for name, parameter in self.supernet.named_parameters()
        }
        return TrainingState(copy_weights(self.supernet), momentum)

    @torch.no_grad()
    def load_state(self, state: TrainingState) -> None:
        if not self.sharded:
            load_unsharded_state(self.supernet, self.optimizer, state)
            return
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        self.supernet.load_state_dict(state.weights)
        for name, parameter in self.supernet.named_parameters():
            # The optimizer steps its own flat copy of the weights, and writes that back over the model's.
            safe_set_full_fp32_param(parameter, state.weights[name].to(parameter.device))
            safe_set_full_optimizer_state(parameter, state.momentum[name].to(parameter.device), MOMENTUM)

    def _create_momentum(self) -> None:
        """Give the sharded optimizer its momentum, zero, before the first step.

        DeepSpeed maps optimizer state to parameters after the first parameter group has stepped, when the second has
        none yet, and never again.
        """
        inner = self.optimizer.optimizer
        for flat in self.optimizer.single_partition_of_fp32_groups:
            inner.state[flat][MOMENTUM] = torch.zeros_like(flat)
        self.optimizer._lazy_init_hp_params_optimizer_state()


def deepspeed_config(config: EngineConfig, optimizer: OptimizerConfig, batch_per_process: int) -> dict[str, Any]:
    """DeepSpeed's own configuration for a sandwich step."""
    return {
        "train_micro_batch_size_per_gpu": batch_per_process,
        # The sub-steps of a sandwich are marked by hand (`set_gradient_accumulation_boundary`), and their losses are
        # summed, not averaged.
        "gradient_accumulation_steps": 1,
        "gradient_clipping": optimizer.gradient_clip or 0.0,
        # Stage 1 with overlapping communication loses the gradients of all but the last sub-step, silently.
        "zero_optimization": {"stage": config.zero_stage, "overlap_comm": False},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }


def import_deepspeed() -> Any:
    """DeepSpeed, quiet, and without the C++ extension that it would compile at start-up on CPUs.

    Raises:
        EngineError: where it is not installed.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it logs to the standard output, where results belong
            import deepspeed
            import deepspeed.ops
    except ImportError as error:
        raise EngineError(f"engine.name: deepspeed cannot be imported ({error}); pip install deepspeed") from None
    # DeepSpeed insists on what its launcher sets, also on one process that nobody launched.
    os.environ.setdefault("LOCAL_RANK", "0")
    deepspeed.utils.logging.logger.setLevel(logging.ERROR)
    # A killed compilation leaves a lock that later starts wait on for ever; gloo needs no such extension.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


def _present(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise EngineError("DeepSpeed no longer maps optimizer state to parameters; use the pinned version")
    return tensor
