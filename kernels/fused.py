"""The operations of elastic layers with batch norm and activation computed within the convolutions around them.

The operations have the signatures of `reference`; the values between them are not always tensors. A convolution gives a
`Convolved`: raw output and its moments. Batch norm makes a `Normalised` of it: the same raw output with a scale, a
shift and an activation that are still to be applied; the next operation applies them as it reads. Autograd chains the
operations, each of which computes the gradients of the raw output, scale and shift that it was given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from kernels import reference
from kernels.primitives import OutputGradient, Primitives, Prologue

# A convolution's passes, its sizes given: see `Primitives.pointwise` and `Primitives.pointwise_backward`.
Forward = Callable[[Tensor, Prologue | None, Tensor], tuple[Tensor, Tensor]]
Backward = Callable[
    [OutputGradient, Tensor, Prologue | None, Tensor], tuple[Tensor, Tensor | None, Tensor | None, Tensor]
]


class Convolved(NamedTuple):
    """A convolution's output and its moments [2, C]: sum and sum of squares per channel."""

    raw: Tensor
    moments: Tensor


class Normalised(NamedTuple):
    """activation(raw · scale + shift), not yet computed."""

    raw: Tensor
    scale: Tensor
    shift: Tensor
    activation: str


class FusedOperations:
    """The operations of elastic layers over a backend's `primitives`."""

    # The matrix products of PyTorch's libraries read a leading block in place, by its strides.
    linear = staticmethod(reference.linear)

    def __init__(self, primitives: Primitives, name: str) -> None:
        self.primitives = primitives
        self.name = name

    def pointwise_conv(self, x: Tensor | Normalised, weight: Tensor, outputs: int) -> Convolved:
        """See `reference.pointwise_conv`."""
        passes = partial(self.primitives.pointwise, outputs=outputs), self.primitives.pointwise_backward
        return Convolved(*_Convolution.apply(passes, *_operand(x), weight))

    def conv(self, x: Tensor | Normalised, weight: Tensor, outputs: int, stride: int) -> Tensor:
        """See `reference.conv`.

        oneDNN or cuDNN computes it: a k×k convolution over all channels does k² · outputs products for each value that
        it reads, so arithmetic bounds it, not memory, and that is what these libraries are made for. A prologue of ours
        would save one pass over x. So x is settled first.
        """
        return reference.conv(self.settle(x, None), weight, outputs, stride)

    def depthwise_conv(
        self, x: Tensor | Normalised, weight: Tensor, kernel: int, stride: int, transforms: Mapping[str, Tensor]
    ) -> Convolved:
        """See `reference.depthwise_conv`."""
        raw, *prologue = _operand(x)
        active = reference.centre_kernel(weight[: raw.shape[1]], kernel, transforms)
        forward, backward = self.primitives.depthwise, self.primitives.depthwise_backward
        passes = partial(forward, stride=stride), partial(backward, stride=stride)
        return Convolved(*_Convolution.apply(passes, raw, *prologue, active))

    def batch_norm(
        self,
        x: Tensor | Convolved,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor] | None,
        training: bool,
        momentum: float,
        epsilon: float,
        activation: str,
    ) -> Tensor | Normalised:
        """See `reference.batch_norm`; a tensor of a tensor, which PyTorch convolved and has no moments."""
        if isinstance(x, Tensor):
            return reference.batch_norm(x, weight, bias, running, training, momentum, epsilon, activation)
        channels = x.raw.shape[1]
        if training:
            count = x.raw.numel() // channels
            scale, shift = _BatchNorm.apply(self.primitives, x.moments, count, weight, bias, epsilon, running, momentum)
        else:
            assert running is not None
            scale = weight[:channels] * torch.rsqrt(running[1][:channels] + epsilon)
            shift = bias[:channels] - running[0][:channels] * scale
        return Normalised(x.raw, scale, shift, activation)

    def squeeze_excite(
        self, x: Tensor | Normalised, reduce: tuple[Tensor, Tensor], expand: tuple[Tensor, Tensor], reduced: int
    ) -> Tensor:
        """See `reference.squeeze_excite`."""
        if isinstance(x, Tensor):
            return reference.squeeze_excite(x, reduce, expand, reduced)
        channels = x.raw.shape[1]
        return _SqueezeExcite.apply(
            self.primitives,
            *x,
            reduce[0][:reduced, :channels],
            reduce[1][:reduced],
            expand[0][:channels, :reduced],
            expand[1][:channels],
        )

    def settle(self, x: Tensor | Normalised, shortcut: Tensor | None, activation: str = "identity") -> Tensor:
        """See `reference.settle`."""
        if isinstance(x, Tensor):
            return reference.settle(x, shortcut, activation)
        return _Settle.apply(self.primitives, *x, shortcut, activation)

    def pool(self, x: Tensor | Normalised) -> Tensor:
        """See `reference.pool`."""
        return _Pool.apply(self.primitives, *x) if isinstance(x, Normalised) else reference.pool(x)


def _operand(x: Tensor | Normalised) -> tuple[Tensor, Tensor | None, Tensor | None, str]:
    return x if isinstance(x, Normalised) else (x, None, None, "identity")


def _prologue(scale: Tensor | None, shift: Tensor | None, activation: str) -> Prologue | None:
    return None if scale is None or shift is None else Prologue(scale, shift, activation)


class _BatchNorm(torch.autograd.Function):
    """Scale and shift from moments; moves the running statistics on the way."""

    @staticmethod
    def forward(
        ctx: Any,
        primitives: Primitives,
        moments: Tensor,
        count: int,
        weight: Tensor,
        bias: Tensor,
        epsilon: float,
        running: tuple[Tensor, Tensor] | None,
        momentum: float,
    ) -> Any:
        ctx.save_for_backward(moments, weight)
        ctx.primitives, ctx.count, ctx.epsilon = primitives, count, epsilon
        return primitives.batch_norm(moments, count, weight, bias, epsilon, running, momentum)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, shift: Tensor) -> Any:
        moments, weight = ctx.saved_tensors
        of_moments, of_weight, of_bias = ctx.primitives.batch_norm_backward(
            scale.contiguous(), shift.contiguous(), moments, ctx.count, weight, ctx.epsilon
        )
        return None, of_moments, None, of_weight, of_bias, None, None, None


class _Convolution(torch.autograd.Function):
    """Either kind; `passes` are its primitives, forward and backward."""

    @staticmethod
    def forward(
        ctx: Any,
        passes: tuple[Forward, Backward],
        raw: Tensor,
        scale: Tensor | None,
        shift: Tensor | None,
        activation: str,
        weight: Tensor,
    ) -> Any:
        raw = _channels_last(raw)
        forward, ctx.of_inputs = passes
        y, moments = forward(raw, _prologue(scale, shift, activation), weight)
        ctx.save_for_backward(raw, scale, shift, weight, y)
        ctx.activation = activation
        return y, moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direct: Tensor, moments: Tensor) -> Any:
        raw, scale, shift, weight, y = ctx.saved_tensors
        gradient = OutputGradient(_channels_last(direct), y, moments.contiguous())
        prologue = _prologue(scale, shift, ctx.activation)
        of_x, of_scale, of_shift, of_weight = ctx.of_inputs(gradient, raw, prologue, weight)
        return None, of_x, of_scale, of_shift, None, of_weight


class _Settle(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        primitives: Primitives,
        raw: Tensor,
        scale: Tensor,
        shift: Tensor,
        activation: str,
        shortcut: Tensor | None,
        last: str,
    ) -> Any:
        shortcut = None if shortcut is None else _channels_last(shortcut)
        # Only the activation of the sum needs the sum again.
        ctx.save_for_backward(raw, scale, shift, None if last == "identity" else shortcut)
        ctx.primitives, ctx.activation, ctx.last, ctx.has_shortcut = primitives, activation, last, shortcut is not None
        return primitives.apply(raw, Prologue(scale, shift, activation), None, shortcut, last)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output: Tensor) -> Any:
        raw, scale, shift, shortcut = ctx.saved_tensors
        output = _channels_last(output)
        prologue = Prologue(scale, shift, ctx.activation)
        *of_x, of_sum = ctx.primitives.apply_backward(output, None, None, raw, prologue, shortcut, ctx.last)
        of_shortcut = (output if of_sum is None else of_sum) if ctx.has_shortcut else None
        return None, *of_x, None, of_shortcut, None


class _Pool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, primitives: Primitives, raw: Tensor, scale: Tensor, shift: Tensor, activation: str) -> Any:
        ctx.save_for_backward(raw, scale, shift)
        ctx.primitives, ctx.activation = primitives, activation
        return primitives.pool(raw, Prologue(scale, shift, activation))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, pooled: Tensor) -> Any:
        raw, scale, shift = ctx.saved_tensors
        prologue = Prologue(scale, shift, ctx.activation)
        *of_x, _ = ctx.primitives.apply_backward(None, None, pooled.contiguous(), raw, prologue)
        return None, *of_x, None


class _SqueezeExcite(torch.autograd.Function):
    """The two small linear layers are plain matrix products, which read their leading blocks in place."""

    @staticmethod
    def forward(
        ctx: Any,
        primitives: Primitives,
        raw: Tensor,
        scale: Tensor,
        shift: Tensor,
        activation: str,
        reduce_weight: Tensor,
        reduce_bias: Tensor,
        expand_weight: Tensor,
        expand_bias: Tensor,
    ) -> Any:
        prologue = Prologue(scale, shift, activation)
        with torch.autocast(raw.device.type, enabled=False):
            pooled = primitives.pool(raw, prologue)  # [N, C]
            hidden = F.relu(F.linear(pooled, reduce_weight, reduce_bias))  # [N, R]
            gate = F.hardsigmoid(F.linear(hidden, expand_weight, expand_bias))  # [N, C]
        ctx.save_for_backward(raw, scale, shift, reduce_weight, expand_weight, pooled, hidden, gate)
        ctx.primitives, ctx.activation = primitives, activation
        return primitives.apply(raw, prologue, gate, None)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output: Tensor) -> Any:
        raw, scale, shift, reduce_weight, expand_weight, pooled, hidden, gate = ctx.saved_tensors
        output = _channels_last(output)
        prologue = Prologue(scale, shift, ctx.activation)
        of_gate = ctx.primitives.gate_gradient(output, raw, prologue)
        of_expanded = of_gate * ((gate > 0) & (gate < 1)) / 6
        of_hidden = (of_expanded @ expand_weight) * (hidden > 0)
        of_pooled = of_hidden @ reduce_weight
        *of_x, _ = ctx.primitives.apply_backward(output, gate, of_pooled, raw, prologue)
        of_reduce = of_hidden.T @ pooled, of_hidden.sum(0)
        of_expand = of_expanded.T @ hidden, of_expanded.sum(0)
        return None, *of_x, None, *of_reduce, *of_expand


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
