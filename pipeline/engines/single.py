"""One process, plain PyTorch: the reference that the other engines are compared with."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from pipeline.engines.config import BaseEngineConfig
from pipeline.engines.optimizer import OptimizerConfig, build_optimizer, start_momentum
from pipeline.engines.protocol import (
    Engine,
    EngineError,
    TrainingState,
    add_together,
    load_unsharded_state,
    unsharded_state,
    update,
)
from pipeline.engines.teacher import FrozenTeacher
from pipeline.supernet.graphs import Graphs
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet, Trunk


class SingleConfig(BaseEngineConfig, frozen=True):
    """One process, and no other package than torch."""

    name: Literal["single"] = "single"

    def check_processes(self, count: int) -> None:
        if count > 1:
            raise EngineError(f"engine.name: 'single' cannot run on {count} processes; legal: ddp, fsdp, deepspeed")

    def all_reduces(self, subnets: int) -> float:
        return 1.0  # of the engine that takes its place on many processes

    def build(self, supernet: Supernet, optimizer: OptimizerConfig, batch_per_process: int) -> Engine:
        return SingleEngine(supernet, optimizer)


class SingleEngine:
    def __init__(self, supernet: Supernet, config: OptimizerConfig) -> None:
        self.supernet = supernet
        self.teacher = FrozenTeacher(supernet)
        self.graphs: Graphs = {}
        self.parameters = list(supernet.parameters())
        self.optimizer = build_optimizer(self.parameters, config)
        start_momentum(self.optimizer)
        self.clip = config.gradient_clip

    def forward(self, images: Tensor | Trunk, subnet: Subnet, last: bool) -> Tensor:
        return self.supernet(images, subnet, self.graphs.get(subnet))

    def backward(self, loss: Tensor, last: bool) -> None:
        add_together(self.parameters, loss.backward)

    def step(self, learning_rate: float) -> Tensor:
        return update(self.parameters, self.optimizer, learning_rate, self.clip)

    def full_state(self) -> TrainingState:
        return unsharded_state(self.supernet, self.optimizer, self.teacher)

    def whole_supernet(self) -> Supernet:
        return self.supernet

    def load_state(self, state: TrainingState) -> None:
        load_unsharded_state(self.supernet, self.optimizer, self.teacher, state)
