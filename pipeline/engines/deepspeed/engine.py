"""DeepSpeed, ZeRO stages 0 to 3, corrected where a supernet's unused parameters and sub-steps need it."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from pipeline.engines.optimizer import (
    MOMENTUM,
    OptimizerConfig,
    build_optimizer,
    skip_unless_finite,
    start_momentum,
)
from pipeline.engines.protocol import (
    EngineError,
    TrainingState,
    WholeCopy,
    average_running_statistics,
    copy_weights,
    load_unsharded_state,
    set_learning_rate,
    unsharded_state,
)
from pipeline.engines.teacher import FrozenTeacher
from pipeline.supernet.graphs import Graphs
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet, Trunk


class DeepSpeedEngine:
    """DeepSpeed's engine with an optimizer of ours.

    Args:
        stage: of ZeRO.
        content: DeepSpeed's own configuration.

    Raises:
        EngineError: where DeepSpeed is missing, or is not as these corrections know it.
    """

    def __init__(self, supernet: Supernet, optimizer: OptimizerConfig, stage: int, content: dict[str, Any]) -> None:
        deepspeed = import_deepspeed()
        self.supernet = supernet
        self.teacher = FrozenTeacher(supernet)
        self.graphs: Graphs = {}
        self.stage = stage
        if self.stage == 3:
            # A unit uses some of its weights, and reads them in its layers' stead: it is gathered whole, at once.
            deepspeed.utils.set_z3_leaf_modules(supernet, list({type(unit) for unit in supernet.units()}))
        self.deepspeed, self.optimizer, _, _ = deepspeed.initialize(
            model=supernet,
            optimizer=build_optimizer(list(supernet.parameters()), optimizer),
            config=_checked(deepspeed, content),
        )
        self.sharded_gradients = self._sharded_gradients() if self.stage == 3 else None
        self.whole = WholeCopy(supernet, deepspeed.utils.safe_get_full_fp32_param) if self.stage == 3 else None
        if self.stage:
            self._create_momentum()
        else:
            start_momentum(self.optimizer)

    def forward(self, images: Tensor | Trunk, subnet: Subnet, last: bool) -> Tensor:
        return self.deepspeed(images, subnet, self.graphs.get(subnet))

    def backward(self, loss: Tensor, last: bool) -> None:
        self.deepspeed.set_gradient_accumulation_boundary(last)
        self.deepspeed.backward(loss)

    def step(self, learning_rate: float) -> Tensor:
        set_learning_rate(self.optimizer, learning_rate)
        norm = None
        if not self.stage:  # DeepSpeed knows it where it clips, and then after clipping
            gradients = [parameter.grad for parameter in self.supernet.parameters() if parameter.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
            skip_unless_finite(self.optimizer, norm)  # the sharded optimizers look for themselves, and wait for it
        self.deepspeed.step()
        if self.sharded_gradients is not None:
            # Stage 3 adds later sub-steps to what it holds, and overwrites it in the first one alone: a parameter that
            # the first does not use would start from the gradient of the step before.
            self.sharded_gradients.zero_()
        return norm if norm is not None else torch.as_tensor(self.deepspeed.get_global_grad_norm())

    def full_state(self) -> TrainingState:
        average_running_statistics(self.supernet)
        if not self.stage:
            return unsharded_state(self.supernet, self.optimizer, self.teacher)
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        weights, momentum = copy_weights(self.supernet), {}
        for name, parameter in self.supernet.named_parameters():
            if self.stage == 3:
                weights[name] = _present(safe_get_full_fp32_param(parameter)).cpu()
            momentum[name] = _present(safe_get_full_optimizer_state(parameter, MOMENTUM)).cpu()
        return TrainingState(weights, momentum, self.teacher.weights())

    def whole_supernet(self) -> Supernet:
        average_running_statistics(self.supernet)
        return self.supernet if self.whole is None else self.whole.get()

    @torch.no_grad()
    def load_state(self, state: TrainingState) -> None:
        if not self.stage:
            load_unsharded_state(self.supernet, self.optimizer, self.teacher, state)
            return
        self.teacher.load(state.teacher)
        if self.stage < 3:
            self._load_beside_whole_weights(state)
        else:
            self._load_sharded_weights(state)

    def _load_beside_whole_weights(self, state: TrainingState) -> None:
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        self.supernet.load_state_dict(state.weights)
        for name, parameter in self.supernet.named_parameters():
            # The optimizer steps its own flat copy of the weights, and writes that back over the model's.
            safe_set_full_fp32_param(parameter, state.weights[name].to(parameter.device))
            safe_set_full_optimizer_state(parameter, state.momentum[name].to(parameter.device), MOMENTUM)

    def _load_sharded_weights(self, state: TrainingState) -> None:
        from deepspeed.runtime.zero import GatheredParameters
        from deepspeed.utils import safe_set_local_fp32_param, safe_set_local_optimizer_state

        parameters = dict(self.supernet.named_parameters())
        with GatheredParameters(list(parameters.values()), modifier_rank=0):
            for name, parameter in parameters.items():
                parameter.copy_(state.weights[name])
        for name, parameter in parameters.items():
            safe_set_local_fp32_param(parameter, _partition(state.weights[name], parameter))
            safe_set_local_optimizer_state(parameter, _partition(state.momentum[name], parameter), MOMENTUM)
        for name, buffer in self.supernet.named_buffers():
            buffer.copy_(state.weights[name])

    def _sharded_gradients(self) -> Tensor:
        buffer = getattr(self.optimizer, "grad_partitions_flat_buffer", None)
        if not isinstance(buffer, Tensor):
            raise EngineError("DeepSpeed no longer keeps stage 3's gradients in one buffer; use the pinned version")
        return buffer

    def _create_momentum(self) -> None:
        """Give the sharded optimizer its momentum, zero, before the first step.

        Stages 1 and 2 map optimizer state to parameters after the first parameter group has stepped, when the second
        has none yet, and never again.
        """
        inner = self.optimizer.optimizer
        shards = "fp32_partitioned_groups_flat" if self.stage == 3 else "single_partition_of_fp32_groups"
        for flat in getattr(self.optimizer, shards):
            inner.state[flat][MOMENTUM] = torch.zeros_like(flat)
        if self.stage < 3:
            self.optimizer._lazy_init_hp_params_optimizer_state()


def import_deepspeed() -> Any:
    """DeepSpeed, quiet, and without the C++ extension that it would compile at start-up on CPUs.

    Raises:
        EngineError: where it is not installed.
    """
    if not torch.cuda.is_available():
        # Left to itself it says on every process that it found no accelerator, or finds one that we do not use.
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    try:
        # It logs to the standard output, where results belong; and imports MLflow, for its tuning, which is not used.
        with contextlib.redirect_stdout(sys.stderr), _without("mlflow"):
            import deepspeed
            import deepspeed.ops
    except ImportError as error:
        raise EngineError(f"engine.name: deepspeed cannot be imported ({error}); pip install deepspeed") from None
    # It calls functions that torch has renamed.
    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    # DeepSpeed insists on what its launcher sets, also on one process that nobody launched.
    os.environ.setdefault("LOCAL_RANK", "0")
    deepspeed.utils.logging.logger.setLevel(logging.ERROR)
    # A killed compilation leaves a lock that later starts wait on for ever; gloo needs no such extension.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed


@contextlib.contextmanager
def _without(package: str) -> Iterator[None]:
    """Have imports of a package fail inside, as where it is not installed; unless it is imported already.

    None in place of a module is the language's own way to say so (Python's reference, "The module cache").
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # pyright: ignore[reportArgumentType] (typed as modules only)
    try:
        yield
    finally:
        del sys.modules[package]


def _checked(deepspeed: Any, content: dict[str, Any]) -> dict[str, Any]:
    """`content`, once DeepSpeed has found no value of a wrong type in it, and what it asks for is installed.

    DeepSpeed raises errors of any kind while it parses; and that a package is missing, on the main process alone, while
    the others wait.
    """
    try:
        deepspeed.DeepSpeedConfig(copy.deepcopy(content))
    except Exception as error:
        raise EngineError(f"engine.deepspeed: DeepSpeed cannot read it: {' '.join(str(error).split())}") from None
    for package in ("tensorboard", "wandb"):
        if content.get(package, {}).get("enabled") and importlib.util.find_spec(package) is None:
            raise EngineError(f"engine.deepspeed.{package}: {package} is not installed; pip install {package}")
    return content


def _partition(whole: Tensor, parameter: Any) -> Tensor:
    """This process's partition of `whole`, as stage 3 cuts it: into equal ones, the last filled up with zeros."""
    size = parameter.ds_tensor.numel()
    flat = F.pad(whole.flatten().to(parameter.device), (0, size * dist.get_world_size() - whole.numel()))
    return flat.narrow(0, size * dist.get_rank(), size)


def _present(tensor: Tensor | None) -> Tensor:
    if tensor is None:
        raise EngineError("DeepSpeed no longer maps optimizer state to parameters; use the pinned version")
    return tensor
