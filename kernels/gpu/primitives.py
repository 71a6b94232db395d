"""The protocol `Primitives` by the Triton kernels."""

from __future__ import annotations

from torch import Tensor

from kernels.gpu import batch_norm, depthwise, normalise, pointwise
from kernels.primitives import OutputGradient, Prologue


class TritonPrimitives:
    """See `Primitives`."""

    def pointwise(self, x: Tensor, prologue: Prologue | None, weight: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
        return pointwise.forward(x, prologue, weight, outputs)

    def pointwise_backward(
        self, gradient: OutputGradient, x: Tensor, prologue: Prologue | None, weight: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
        return pointwise.backward(gradient, x, prologue, weight)

    def depthwise(self, x: Tensor, prologue: Prologue | None, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        return depthwise.forward(x, prologue, weight, stride)

    def depthwise_backward(
        self, gradient: OutputGradient, x: Tensor, prologue: Prologue | None, weight: Tensor, stride: int
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
        return depthwise.backward(gradient, x, prologue, weight, stride)

    def batch_norm(
        self,
        moments: Tensor,
        count: int,
        weight: Tensor,
        bias: Tensor,
        epsilon: float,
        running: tuple[Tensor, Tensor] | None,
        momentum: float,
    ) -> tuple[Tensor, Tensor]:
        return batch_norm.forward(moments, count, weight, bias, epsilon, running, momentum)

    def batch_norm_backward(
        self, of_scale: Tensor, of_shift: Tensor, moments: Tensor, count: int, weight: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        return batch_norm.backward(of_scale, of_shift, moments, count, weight, epsilon)

    def apply(
        self,
        x: Tensor,
        prologue: Prologue,
        gate: Tensor | None,
        shortcut: Tensor | None,
        activation: str = "identity",
    ) -> Tensor:
        return normalise.apply(x, prologue, gate, shortcut, activation)

    def apply_backward(
        self,
        output: Tensor | None,
        gate: Tensor | None,
        pooled: Tensor | None,
        x: Tensor,
        prologue: Prologue,
        shortcut: Tensor | None = None,
        activation: str = "identity",
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        return normalise.apply_backward(output, gate, pooled, x, prologue, shortcut, activation)

    def pool(self, x: Tensor, prologue: Prologue) -> Tensor:
        return normalise.pool(x, prologue)

    def gate_gradient(self, output: Tensor, x: Tensor, prologue: Prologue) -> Tensor:
        return normalise.gate_gradient(output, x, prologue)
