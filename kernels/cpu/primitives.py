"""The primitives on CPUs: float32, by the C++ of this folder."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from kernels.cpu.build import library
from kernels.cpu.instruction_set import InstructionSet
from kernels.cpu.reused_memory import ReusedMemory
from kernels.primitives import OutputGradient, Prologue

_ACTIVATIONS = {"identity": 0, "relu": 1, "relu6": 2, "h_swish": 3, "swish": 4}


class CpuPrimitives:
    """See `kernels.primitives.Primitives`.

    Args:
        instructions: what the C++ may use; None for the widest that the processor at hand has.

    Raises:
        BuildError: where the C++ cannot be compiled.
    """

    def __init__(self, instructions: InstructionSet | None = None) -> None:
        self._library = library(instructions)
        self._memory = ReusedMemory()

    def pointwise(self, x: Tensor, prologue: Prologue | None, weight: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
        batch, inputs, height, width = x.shape
        y, moments = self._memory.empty(batch, outputs, height, width), torch.empty(2, outputs, dtype=torch.float64)
        block = (weight, ctypes.c_int64(weight.stride(0)))
        sizes = _sizes(batch * height * width, inputs, outputs)
        self._call("pointwise", x, *_prologue(prologue), *block, y, moments, *sizes)
        return y, moments

    def pointwise_backward(
        self, gradient: OutputGradient, x: Tensor, prologue: Prologue | None, weight: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
        batch, inputs, height, width = x.shape
        outputs = gradient.y.shape[1]
        dx, dprologue = self._memory.empty(*x.shape), torch.empty(2, inputs)
        whole = weight.shape[:2] == (outputs, inputs)
        dweight = torch.empty(weight.shape) if whole else torch.zeros(weight.shape)
        block = (weight, ctypes.c_int64(weight.stride(0)))
        sizes = _sizes(batch * height * width, inputs, outputs)
        operands = (*_gradient(gradient), x, *_prologue(prologue), *block)
        self._call("pointwise_backward", *operands, dx, dprologue, dweight, *sizes)
        return dx, *_of_prologue(prologue, dprologue), dweight

    def depthwise(self, x: Tensor, prologue: Prologue | None, weight: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        batch, channels, height, width = x.shape
        y = self._memory.empty(batch, channels, (height - 1) // stride + 1, (width - 1) // stride + 1)
        moments = torch.empty(2, channels, dtype=torch.float64)
        shape = _array(batch, channels, height, width, weight.shape[2], stride)
        self._call("depthwise", x, *_prologue(prologue), *_depthwise_weight(weight), y, moments, shape)
        return y, moments

    def depthwise_backward(
        self, gradient: OutputGradient, x: Tensor, prologue: Prologue | None, weight: Tensor, stride: int
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
        batch, channels, height, width = x.shape
        dx, dprologue = self._memory.empty(*x.shape), torch.empty(2, channels)
        dweight = torch.empty(weight.shape)
        shape = _array(batch, channels, height, width, weight.shape[2], stride)
        operands = (*_gradient(gradient), x, *_prologue(prologue), *_depthwise_weight(weight))
        self._call("depthwise_backward", *operands, dx, dprologue, dweight, shape)
        return dx, *_of_prologue(prologue, dprologue), dweight

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
        channels = moments.shape[1]
        scale, shift = torch.empty(channels), torch.empty(channels)
        affine = (weight, bias, ctypes.c_double(epsilon))
        statistics = (*(running or (None, None)), ctypes.c_double(momentum))
        self._call("batch_norm", moments, *_sizes(count), *affine, *statistics, scale, shift, *_sizes(channels))
        return scale, shift

    def batch_norm_backward(
        self, of_scale: Tensor, of_shift: Tensor, moments: Tensor, count: int, weight: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        dmoments, dweight, dbias = torch.empty_like(moments), torch.empty_like(weight), torch.empty_like(weight)
        operands = (of_scale, of_shift, moments, *_sizes(count), weight, ctypes.c_double(epsilon))
        sizes = _sizes(moments.shape[1], len(weight))
        self._call("batch_norm_backward", *operands, dmoments, dweight, dbias, *sizes)
        return dmoments, dweight, dbias

    def apply(
        self,
        x: Tensor,
        prologue: Prologue,
        gate: Tensor | None,
        shortcut: Tensor | None,
        activation: str = "identity",
    ) -> Tensor:
        y = self._memory.empty(*x.shape)
        last = (shortcut, ctypes.c_int(_ACTIVATIONS[activation]))
        self._call("apply", x, *_prologue(prologue), gate, *last, y, *_batch_pixels_channels(x))
        return y

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
        dx, dprologue = self._memory.empty(*x.shape), torch.empty(2, x.shape[1])
        dsum = None if activation == "identity" else self._memory.empty(*x.shape)
        operands = (output, gate, pooled, x, *_prologue(prologue), shortcut, ctypes.c_int(_ACTIVATIONS[activation]))
        self._call("apply_backward", *operands, dx, dprologue, dsum, *_batch_pixels_channels(x))
        return dx, dprologue[0], dprologue[1], dsum

    def pool(self, x: Tensor, prologue: Prologue) -> Tensor:
        return self._reduce(None, x, prologue)

    def gate_gradient(self, output: Tensor, x: Tensor, prologue: Prologue) -> Tensor:
        return self._reduce(output, x, prologue)

    def _reduce(self, output: Tensor | None, x: Tensor, prologue: Prologue) -> Tensor:
        to = torch.empty(x.shape[:2])
        self._call("reduce", output, x, *_prologue(prologue), to, *_batch_pixels_channels(x))
        return to

    def _call(self, name: str, *arguments: Any) -> None:
        getattr(self._library, name)(*(_argument(each) for each in arguments), ctypes.c_int(torch.get_num_threads()))


def _argument(value: Any) -> Any:
    return ctypes.c_void_p(value.data_ptr()) if isinstance(value, Tensor) else value


def _prologue(prologue: Prologue | None) -> tuple[Any, ...]:
    if prologue is None:
        return None, None, ctypes.c_int(0)
    return prologue.scale, prologue.shift, ctypes.c_int(_ACTIVATIONS[prologue.activation])


def _of_prologue(prologue: Prologue | None, gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if prologue is None else (gradients[0], gradients[1])


def _gradient(gradient: OutputGradient) -> tuple[Tensor, Tensor, Tensor]:
    return gradient.direct, gradient.y, gradient.moments


def _depthwise_weight(weight: Tensor) -> tuple[Tensor, Any]:
    return weight, _array(weight.stride(0), weight.stride(2), weight.stride(3))


def _sizes(*sizes: int) -> tuple[ctypes.c_int64, ...]:
    return tuple(ctypes.c_int64(size) for size in sizes)


def _array(*values: int) -> Any:
    return (ctypes.c_int64 * len(values))(*values)


def _batch_pixels_channels(x: Tensor) -> tuple[ctypes.c_int64, ...]:
    batch, channels, height, width = x.shape
    return _sizes(batch, height * width, channels)
