"""torch's FSDP2: weights, gradients and momentum in shards; a block's weights are gathered when it computes."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from pipeline.engines.optimizer import (
    MOMENTUM,
    OptimizerConfig,
    build_optimizer,
    skip_unless_finite,
    start_momentum,
)
from pipeline.engines.protocol import (
    TrainingState,
    WholeCopy,
    average_running_statistics,
    complete_gradients,
    set_learning_rate,
)
from pipeline.engines.teacher import FrozenTeacher
from pipeline.supernet.graphs import Graphs
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet, Trunk


class FsdpEngine:
    def __init__(self, supernet: Supernet, config: OptimizerConfig) -> None:
        # torch itself calls functions that it has renamed.
        warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
        self.supernet = supernet
        self.teacher = FrozenTeacher(supernet)
        self.graphs: Graphs = {}
        for unit in supernet.units():
            fully_shard(unit)
        self.fsdp = fully_shard(supernet)
        # Computed apart from the subnets, it gathers and shards like a forward pass of its own.
        register_fsdp_forward_method(supernet, "trunk")
        self.parameters = list(supernet.parameters())
        # Of this process's shards as plain tensors: torch's fused SGD does not know DTensors.
        self.shards = [nn.Parameter(_local(parameter)) for parameter in self.parameters]
        self.optimizer = build_optimizer(self.shards, config)
        start_momentum(self.optimizer)
        self.clip = config.gradient_clip
        self.whole = WholeCopy(supernet, _whole)

    def forward(self, images: Tensor | Trunk, subnet: Subnet, last: bool) -> Tensor:
        return self.supernet(images, subnet)

    def backward(self, loss: Tensor, last: bool) -> None:
        # Until the last sub-step, gradients add up unsharded; the last call reduces those of all blocks.
        self.fsdp.set_requires_gradient_sync(last)
        loss.backward()

    def step(self, learning_rate: float) -> Tensor:
        norm = _whole(complete_gradients(self.parameters, self.clip))
        skip_unless_finite(self.optimizer, norm)
        for shard, parameter in zip(self.shards, self.parameters, strict=True):
            shard.data, shard.grad = _local(parameter), _local(parameter.grad)
        set_learning_rate(self.optimizer, learning_rate)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.supernet.zero_grad()
        return norm

    def full_state(self) -> TrainingState:
        average_running_statistics(self.supernet)
        weights = {name: _whole(tensor).cpu() for name, tensor in self.supernet.state_dict().items()}
        momentum = {}
        for (name, parameter), shard in zip(self.supernet.named_parameters(), self.shards, strict=True):
            momentum[name] = _whole(_like(self.optimizer.state[shard][MOMENTUM], parameter)).cpu()
        return TrainingState(weights, momentum, self.teacher.weights())

    def whole_supernet(self) -> Supernet:
        average_running_statistics(self.supernet)
        return self.whole.get()

    @torch.no_grad()
    def load_state(self, state: TrainingState) -> None:
        self.teacher.load(state.teacher)
        for (name, parameter), shard in zip(self.supernet.named_parameters(), self.shards, strict=True):
            parameter.copy_(_sharded(state.weights[name], parameter))
            self.optimizer.state[shard][MOMENTUM].copy_(_local(_sharded(state.momentum[name], parameter)))
        for name, buffer in self.supernet.named_buffers():
            buffer.copy_(state.weights[name])


def _whole(tensor: Tensor) -> Tensor:
    """All of `tensor`, gathered on all processes; a copy."""
    whole = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return whole.detach().clone()  # on one process, the shard itself is the whole


def _local(tensor: Tensor | None) -> Tensor:
    """This process's part of a sharded tensor, in place."""
    assert isinstance(tensor, DTensor)
    return tensor.to_local().detach()


def _like(local: Tensor, sharded: Tensor) -> DTensor:
    """The tensor whose part on this process is `local`, laid out as `sharded`."""
    assert isinstance(sharded, DTensor)
    return DTensor.from_local(
        local, sharded.device_mesh, sharded.placements, shape=sharded.shape, stride=sharded.stride()
    )


def _sharded(whole: Tensor, like: Tensor) -> DTensor:
    """`whole`, which every process has, laid out as `like`."""
    assert isinstance(like, DTensor)
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
