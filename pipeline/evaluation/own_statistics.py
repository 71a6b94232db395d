"""Operations whose batch norms have statistics of their own, so that a subnet is measured in the supernet's weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernels.operations import Operations


class OwnStatistics:
    """`Operations` of one part of a subnet: those given, but for what their batch norms normalise by.

    The full model's running statistics are neither read nor moved.

    Attributes:
        share: of the batch that comes next in the average of all so far: the part is being recalibrated, and normalises
            by the batch's own statistics. None: it normalises by that average.
    """

    def __init__(self, operations: Operations) -> None:
        self.name = operations.name
        self.pointwise_conv, self.conv = operations.pointwise_conv, operations.conv
        self.depthwise_conv, self.squeeze_excite = operations.depthwise_conv, operations.squeeze_excite
        self.settle, self.pool, self.linear = operations.settle, operations.pool, operations.linear
        self._batch_norm = operations.batch_norm
        self._averages: dict[Tensor, tuple[Tensor, Tensor]] = {}  # mean and variance of a batch norm, by its weight
        self.share: float | None = None

    def batch_norm(
        self,
        x: Any,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor] | None,
        training: bool,
        momentum: float,
        epsilon: float,
        activation: str,
    ) -> Any:
        """See `kernels.reference.batch_norm`; `running`, `training` and `momentum` do not matter."""
        if weight not in self._averages:
            self._averages[weight] = torch.zeros_like(weight), torch.ones_like(weight)
        own, recalibrates = self._averages[weight], self.share is not None
        return self._batch_norm(x, weight, bias, own, recalibrates, self.share or 0.0, epsilon, activation)
