"""The trunk of a step's subnets, run forward once and backward once."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from pipeline.supernet.supernet import Trunk


class SharedTrunk:
    """Hands one trunk to each sub-step, and sends the sum of their gradients back through it in the last one.

    So its parameters get their gradient in the sub-step in which engines reduce over the processes, as part of that
    sub-step's graph, as if only the last subnet had used them.
    """

    def __init__(self, trunk: Trunk) -> None:
        self._features = trunk.features
        # Its gradient: the sum so far. Where subnets share nothing, the trunk is the images, which need none.
        self._gathered = trunk.features.detach().requires_grad_(trunk.features.requires_grad)

    def for_sub_step(self, last: bool) -> Trunk:
        rejoins = last and self._features.requires_grad
        return Trunk(_Rejoin.apply(self._features, self._gathered) if rejoins else self._gathered)


class _Rejoin(Function):
    """The features themselves; backward, with the gradient that `gathered` has by then added."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, gathered: Tensor) -> Tensor:
        ctx.gathered = gathered
        return features.view_as(features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        others = ctx.gathered.grad
        return gradient if others is None else others.add_(gradient), None
