"""torch's DistributedDataParallel: every process holds everything, one gradient all-reduce per step."""

from __future__ import annotations

import warnings
from typing import Literal

from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from pipeline.engines.config import BaseEngineConfig
from pipeline.engines.optimizer import OptimizerConfig, build_optimizer, start_momentum
from pipeline.engines.protocol import (
    Engine,
    TrainingState,
    add_together,
    average_running_statistics,
    load_unsharded_state,
    unsharded_state,
    update,
)
from pipeline.engines.teacher import FrozenTeacher
from pipeline.supernet.graphs import Graphs
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet, Trunk


class DdpConfig(BaseEngineConfig, frozen=True):
    """Torch alone, on many processes."""

    name: Literal["ddp"] = "ddp"

    def all_reduces(self, subnets: int) -> float:
        return 1.0

    def build(self, supernet: Supernet, optimizer: OptimizerConfig, batch_per_process: int) -> Engine:
        return DdpEngine(supernet, optimizer)


class DdpEngine:
    def __init__(self, supernet: Supernet, config: OptimizerConfig) -> None:
        # torch 2.13 has a new name for it, with another meaning before the first forward; 2.11 does not know that name.
        warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
        self.supernet = supernet
        self.teacher = FrozenTeacher(supernet)
        self.graphs: Graphs = {}
        self.parameters = list(supernet.parameters())
        self.optimizer = build_optimizer(self.parameters, config)
        start_momentum(self.optimizer)
        self.clip = config.gradient_clip
        # Small subnets leave parameters unused; batch-norm statistics are averaged before they are read instead.
        self.ddp = DistributedDataParallel(supernet, find_unused_parameters=True, broadcast_buffers=False)

    def forward(self, images: Tensor | Trunk, subnet: Subnet, last: bool) -> Tensor:
        # What no_sync() sets, and DDP reads it in forward as well as in backward: reduce in the last sub-step only.
        self.ddp.require_backward_grad_sync = last
        return self.ddp(images, subnet, self.graphs.get(subnet))

    def backward(self, loss: Tensor, last: bool) -> None:
        if last:
            loss.backward()
        else:
            add_together(self.parameters, loss.backward)

    def step(self, learning_rate: float) -> Tensor:
        return update(self.parameters, self.optimizer, learning_rate, self.clip)

    def full_state(self) -> TrainingState:
        average_running_statistics(self.supernet)
        return unsharded_state(self.supernet, self.optimizer, self.teacher)

    def whole_supernet(self) -> Supernet:
        average_running_statistics(self.supernet)
        return self.supernet

    def load_state(self, state: TrainingState) -> None:
        load_unsharded_state(self.supernet, self.optimizer, self.teacher, state)
