"""One process, plain PyTorch: the reference that the other engines are compared with."""

from __future__ import annotations

from torch import Tensor

from pipeline.engines.optimizer import OptimizerConfig, build_optimizer, start_momentum
from pipeline.engines.protocol import TrainingState, load_unsharded_state, unsharded_state, update
from pipeline.engines.teacher import FrozenTeacher
from pipeline.supernet.graphs import Graphs
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet, Trunk


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
        loss.backward()

    def step(self, learning_rate: float) -> Tensor:
        return update(self.parameters, self.optimizer, learning_rate, self.clip)

    def full_state(self) -> TrainingState:
        return unsharded_state(self.supernet, self.optimizer, self.teacher)

    def whole_supernet(self) -> Supernet:
        return self.supernet

    def load_state(self, state: TrainingState) -> None:
        load_unsharded_state(self.supernet, self.optimizer, self.teacher, state)
