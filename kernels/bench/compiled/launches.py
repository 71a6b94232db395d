"""Which launches of Triton's kernels work asks for, where no GPU makes them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from kernels.bench.cases import Case
from kernels.fused import FusedOperations
from kernels.losses.choice import Losses, losses_for
from kernels.primitives import OutputGradient, Primitives, Prologue
from kernels.recorded import Code, Launch

EPSILON = 1e-5


def launches_of(work: Callable[[FusedOperations, Losses], object], every_choice: bool = False) -> list[Launch]:
    """What `work` launches with the operations and losses that it is given, on tensors of any device.

    What the kernels would have written is arbitrary.

    Args:
        every_choice: see `kernels.gpu.compilation.recorded`.
    """
    from kernels.gpu.compilation import recorded
    from kernels.gpu.primitives import TritonPrimitives

    with recorded(every_choice) as launches:
        work(FusedOperations(TritonPrimitives(), "triton"), losses_for("triton"))
    return launches


def case_launches(case: Case, dtype: torch.dtype) -> list[Launch]:
    """What an operation launches in training, forward and backward, with the blocks that are tried first.

    A convolution takes along the batch norm of its output; a residual is its end alone, without its convolution. Of an
    operation that a library computes, nothing.

    Args:
        dtype: of activations.
    """
    work = _WORK.get(case.operation)
    return [] if work is None else launches_of(lambda ours, losses: work(case, dtype, ours.primitives, losses))


def _pointwise(case: Case, dtype: torch.dtype, primitives: Primitives, losses: Losses) -> None:
    x, y = _images(case, case.inputs, case.side, dtype), _images(case, case.outputs, case.output_side, dtype)
    weight, prologue = _empty(case.outputs, case.inputs, 1, 1), _prologue(case, case.inputs)
    primitives.pointwise(x, prologue, weight, case.outputs)
    gradient = _normalised(case, primitives)
    primitives.pointwise_backward(OutputGradient(y, y, gradient), x, prologue, weight)


def _depthwise(case: Case, dtype: torch.dtype, primitives: Primitives, losses: Losses) -> None:
    x, y = _images(case, case.inputs, case.side, dtype), _images(case, case.inputs, case.output_side, dtype)
    weight, prologue = _empty(case.inputs, 1, case.kernel, case.kernel), _prologue(case, case.inputs)
    primitives.depthwise(x, prologue, weight, case.stride)
    gradient = _normalised(case, primitives)
    primitives.depthwise_backward(OutputGradient(y, y, gradient), x, prologue, weight, case.stride)


def _normalised(case: Case, primitives: Primitives) -> Tensor:
    """Batch norm of the output, forward and backward; the gradient of its moments."""
    channels, count = case.outputs, case.batch * case.output_side**2
    moments, vector = torch.empty(2, channels, dtype=torch.float64, device="meta"), _empty(channels)
    primitives.batch_norm(moments, count, vector, vector, EPSILON, (vector, vector), 0.1)
    return primitives.batch_norm_backward(vector, vector, moments, count, vector, EPSILON)[0]


def _residual(case: Case, dtype: torch.dtype, primitives: Primitives, losses: Losses) -> None:
    y = _images(case, case.outputs, case.output_side, dtype)
    prologue = Prologue(_empty(case.outputs), _empty(case.outputs), "identity")
    primitives.apply(y, prologue, None, y, case.activation)
    primitives.apply_backward(y, None, None, y, prologue, y, case.activation)


def _squeeze_excite(case: Case, dtype: torch.dtype, primitives: Primitives, losses: Losses) -> None:
    x = _images(case, case.inputs, case.side, dtype)
    gate = _empty(case.batch, case.inputs)
    prologue = Prologue(_empty(case.inputs), _empty(case.inputs), case.activation)
    primitives.pool(x, prologue)
    primitives.apply(x, prologue, gate, None)
    primitives.gate_gradient(x, x, prologue)
    primitives.apply_backward(x, gate, gate, x, prologue)


def _cross_entropy(case: Case, dtype: torch.dtype, primitives: Primitives, losses: Losses) -> None:
    logits = _empty(case.batch, case.inputs)
    losses.soft_cross_entropy(logits.requires_grad_(), logits.detach(), 1.0)


_WORK = {
    "pointwise": _pointwise,
    "depthwise": _depthwise,
    "residual": _residual,
    "squeeze_excite": _squeeze_excite,
    "cross_entropy": _cross_entropy,
}


def _empty(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def _images(case: Case, channels: int, side: int, dtype: torch.dtype) -> Tensor:
    shape = (case.batch, channels, side, side)
    return torch.empty(shape, dtype=dtype, device="meta", memory_format=torch.channels_last)


def _prologue(case: Case, channels: int) -> Prologue | None:
    """What is not activated was settled before, and is read as it is."""
    return None if case.activation == "identity" else Prologue(_empty(channels), _empty(channels), case.activation)


def code_for(launch: Launch, capability: int) -> Code:
    """A launch's code for GPUs of a compute capability; see `kernels.gpu.compilation.compiled`."""
    from kernels.gpu.compilation import compiled

    return compiled(launch.request, capability)


def assembly_of(code: Code) -> str:
    """See `kernels.gpu.compilation.assembly`."""
    from kernels.gpu.compilation import assembly

    return assembly(code)
