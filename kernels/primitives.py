"""What a fused backend must bring: passes over memory, forward and backward, without autograd.

The idea of all of them: batch norm and activation of a convolution's output are never computed by a pass of their own.
The convolution sums its output and the output's square per channel while it writes it; from these sums come a scale and
a shift per channel; and whoever reads the output applies scale, shift and activation on the way in. The backward passes
mirror it: a gradient goes through activation and scale before it is written, and its sums per channel, which are the
gradients of scale and shift, are taken at the same time.

Activations are [N, C, H, W], contiguous in the channels_last format, float32 or (CUDA) bfloat16; their gradients have
the same dtype and format. Weights are float32 and read in place. Vectors over channels are float32; moments are
float64, so that a variance far smaller than the squared mean survives the subtraction.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Prologue(NamedTuple):
    """Applied to an operand as it is read: activation(raw · scale + shift); scale and shift float32 [C].

    Activations: "identity", "relu", "relu6" (clip(x, 0, 6)), "h_swish" (x · clip(x + 3, 0, 6) / 6), "swish"
    (x · sigmoid(x)).
    """

    scale: Tensor
    shift: Tensor
    activation: str


class OutputGradient(NamedTuple):
    """The gradient of what a convolution gives: of its output `y`, and of that output's moments.

    Together they are direct + moments[0] + 2 · moments[1] · y, which is computed as it is read and never stored.
    """

    direct: Tensor  # like y
    y: Tensor
    moments: Tensor  # [2, C] float64, contiguous; added in float32


class Primitives(Protocol):
    """Passes over memory. Where an operand has no prologue, the gradients of scale and shift are None."""

    def pointwise(self, x: Tensor, prologue: Prologue | None, weight: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
        """1×1 convolution with the leading block of weight [O_max, I_max, 1, 1].

        Returns:
            y [N, outputs, H, W] in x's dtype, and its moments [2, outputs] float64: sum and sum of squares.
        """
        ...

    def pointwise_backward(
        self, gradient: OutputGradient, x: Tensor, prologue: Prologue | None, weight: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
        """Gradients of x, scale, shift, and of the whole weight: zero outside the leading block."""
        ...

    def depthwise(self, x: Tensor, prologue: Prologue | None, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        """Depthwise k×k convolution, k in 3, 5, 7, padding k // 2, stride 1 or 2.

        Args:
            weight: [C, 1, k, k] float32, of any strides: the centre of larger kernels is read in place.

        Returns:
            y and its moments, as `pointwise`. Padding is zero after the prologue, as for a stored input.
        """
        ...

    def depthwise_backward(
        self, gradient: OutputGradient, x: Tensor, prologue: Prologue | None, weight: Tensor, stride: int
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
        """Gradients of x, scale, shift, and of weight: [C, 1, k, k] float32, contiguous."""
        ...

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
        """Scale and shift [C] with which raw · scale + shift is the batch norm of a convolution's raw output.

        Of the mean and the variance of `count` values per channel, which follow from their moments [2, C]:
        scale = weight / √(variance + epsilon), shift = bias − mean · scale; float64 until they are stored.

        Args:
            weight, bias: [C_max], the leading C of which are read.
            running: mean and variance, float32 [C_max], whose leading C are moved by the share `momentum` towards the
                batch's mean and unbiased variance; None where they stay.
        """
        ...

    def batch_norm_backward(
        self, of_scale: Tensor, of_shift: Tensor, moments: Tensor, count: int, weight: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of moments, and of the whole weight and bias [C_max]: zero beyond the leading C.

        Args:
            of_scale, of_shift: gradients [C] of what `batch_norm` gave, contiguous.
        """
        ...

    def apply(
        self,
        x: Tensor,
        prologue: Prologue,
        gate: Tensor | None,
        shortcut: Tensor | None,
        activation: str = "identity",
    ) -> Tensor:
        """activation(prologue(x) · gate + shortcut); gate float32 [N, C], shortcut like x."""
        ...

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
        """Gradients of x, scale and shift, and of the sum in `apply` where it has an activation, else None.

        That of prologue(x) is sum · gate + pooled / (H · W), where that of the sum is output · activation'(sum).

        Args:
            output: gradient like x; None for zero. gate: [N, C]; None for one. pooled: [N, C]; None for zero.
            shortcut, activation: as in `apply`; the sum is computed again.
        """
        ...

    def pool(self, x: Tensor, prologue: Prologue) -> Tensor:
        """Mean of prologue(x) over H and W: float32 [N, C]."""
        ...

    def gate_gradient(self, output: Tensor, x: Tensor, prologue: Prologue) -> Tensor:
        """Sum of output · prologue(x) over H and W: float32 [N, C]."""
        ...
