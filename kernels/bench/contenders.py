"""The same units of work by several implementations."""

from __future__ import annotations

from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from kernels import reference
from kernels.bench.cases import Case, reduced
from kernels.bench.operands import ACTIVATIONS, EPSILON, KNOWN_STATISTICS, Operands
from kernels.dispatch import operations_for
from kernels.fused import Convolved, FusedOperations
from kernels.losses import reference as losses
from kernels.losses.choice import losses_for
from kernels.operations import Operations


class OperationContender(Protocol):
    """Computes units of work from operands that it has laid out as it likes them.

    Attributes:
        tolerance: greatest error that its precision explains: |difference| / |truth|, Euclidean norms.
    """

    name: str
    tolerance: float

    def lay_out(self, operands: Operands) -> Operands:
        """The operands in the contender's own format; not timed."""
        ...

    def forward(self, case: Case, operands: Operands) -> tuple[Tensor, ...]:
        """The output; and, where the contender takes them along, the output's moments [2, C]."""
        ...

    def total(self, gradients: Operands, operands: Operands) -> Operands:
        """The gradients by operand, made comparable with plain PyTorch's."""
        ...


class Eager:
    """Good plain PyTorch: channels_last, slices read in place, torch's own batch norm and activations, bf16 on CUDA."""

    name = "strong eager"

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self._device, self._dtype = device, dtype
        self.tolerance = _tolerance(dtype)

    def lay_out(self, operands: Operands) -> Operands:
        return _channels_last(operands)

    def forward(self, case: Case, operands: Operands) -> tuple[Tensor, ...]:
        with _autocast(self._device, self._dtype):
            return (plain_unit(case, operands),)

    def total(self, gradients: Operands, operands: Operands) -> Operands:
        return gradients


class OfaStyle:
    """As once-for-all code bases compute: slices copied, NCHW, float32, nothing fused."""

    name = "OFA style"

    def __init__(self, device: torch.device) -> None:
        # cuDNN's float32 convolutions round their operands to 11 bits (TF32) by default.
        self.tolerance = 1e-5 if device.type == "cpu" else 1e-2

    def lay_out(self, operands: Operands) -> Operands:
        return {name: value.float().contiguous() for name, value in operands.items()}

    def forward(self, case: Case, operands: Operands) -> tuple[Tensor, ...]:
        return (_ofa_unit(case, operands),)

    def total(self, gradients: Operands, operands: Operands) -> Operands:
        return gradients


class Ours:
    """The operations that `kernels.dispatch` chooses, chained as the elastic layers chain them."""

    name = "ours"

    def __init__(self, device: torch.device, dtype: torch.dtype, operations: Operations | None = None) -> None:
        self.operations = operations or operations_for("auto", device.type, dtype)
        self._device, self._dtype = device, dtype
        self._fused = isinstance(self.operations, FusedOperations)
        self.tolerance = _tolerance(dtype)

    def lay_out(self, operands: Operands) -> Operands:
        made = _channels_last(operands)
        if self._fused and "x" in made:
            x = made["x"].double()
            made["moments"] = torch.stack((x.sum((0, 2, 3)), x.square().sum((0, 2, 3))))
        return made

    def forward(self, case: Case, operands: Operands) -> tuple[Tensor, ...]:
        with _autocast(self._device, self._dtype):
            found = self._unit(case, operands)
        return tuple(found) if isinstance(found, Convolved) else (found,)

    def total(self, gradients: Operands, operands: Operands) -> Operands:
        """With what the input's moments add to its gradient; in training, the backward pass before this one adds it."""
        if "moments" not in gradients:
            return gradients
        mean, square = gradients["moments"][:, :, None, None]
        x = operands["x"].double()
        return {**gradients, "x": gradients["x"].double() + mean + 2 * square * x}

    def _unit(self, case: Case, o: Operands) -> Any:
        operations = self.operations
        if case.operation == "cross_entropy":
            return losses_for(operations.name).soft_cross_entropy(o["logits"], o["teacher"], 1.0)
        if case.operation == "linear":
            return operations.linear(o["rows"], o["weight"], o["bias"], case.outputs)
        x: Any = Convolved(o["x"], o["moments"]) if self._fused else o["x"]
        norm = (o["gamma"], o["beta"])
        if case.operation == "residual":
            y = operations.pointwise_conv(o["x"], o["weight"], case.outputs)
            y = operations.batch_norm(y, *norm, None, True, 0.1, EPSILON, "identity")
            return operations.settle(y, o["shortcut"], case.activation)
        if case.operation in KNOWN_STATISTICS:
            x = operations.batch_norm(x, *norm, _unit_statistics(o["x"]), False, 0.1, EPSILON, case.activation)
            if case.operation == "conv":
                return operations.conv(x, o["weight"], case.outputs, case.stride)
            reduce, expand = (o["reduce_weight"], o["reduce_bias"]), (o["expand_weight"], o["expand_bias"])
            return operations.squeeze_excite(x, reduce, expand, reduced(case.inputs))
        x = operations.batch_norm(x, *norm, None, True, 0.1, EPSILON, case.activation)
        if case.operation == "pointwise":
            return operations.pointwise_conv(x, o["weight"], case.outputs)
        return operations.depthwise_conv(x, o["weight"], case.kernel, case.stride, {})


def plain_unit(case: Case, o: Operands) -> Tensor:
    """The unit of `case` in plain PyTorch: the strong eager contender's and, in float64, the truth."""
    if case.operation == "cross_entropy":
        return losses.soft_cross_entropy(o["logits"], o["teacher"], 1.0)
    if case.operation == "linear":
        return reference.linear(o["rows"], o["weight"], o["bias"], case.outputs)
    x, norm = o["x"], (o["gamma"], o["beta"])
    if case.operation == "residual":
        y = reference.pointwise_conv(x, o["weight"], case.outputs)
        y = reference.batch_norm(y, *norm, None, True, 0.1, EPSILON, "identity")
        return reference.settle(y, o["shortcut"], case.activation)
    if case.operation in KNOWN_STATISTICS:
        x = reference.batch_norm(x, *norm, _unit_statistics(x), False, 0.1, EPSILON, case.activation)
        if case.operation == "conv":
            return reference.conv(x, o["weight"], case.outputs, case.stride)
        reduce, expand = (o["reduce_weight"], o["reduce_bias"]), (o["expand_weight"], o["expand_bias"])
        return reference.squeeze_excite(x, reduce, expand, reduced(case.inputs))
    x = reference.batch_norm(x, *norm, None, True, 0.1, EPSILON, case.activation)
    if case.operation == "pointwise":
        return reference.pointwise_conv(x, o["weight"], case.outputs)
    return reference.depthwise_conv(x, o["weight"], case.kernel, case.stride, {})


def _ofa_unit(case: Case, o: Operands) -> Tensor:
    inputs, outputs = case.inputs, case.outputs
    if case.operation == "cross_entropy":
        return (-F.softmax(o["teacher"], 1) * F.log_softmax(o["logits"], 1)).sum(1).mean()
    if case.operation == "linear":
        return F.linear(o["rows"], o["weight"][:outputs, :inputs].contiguous(), o["bias"][:outputs].contiguous())
    x = o["x"]
    if case.operation == "residual":
        y = F.conv2d(x, o["weight"][:outputs, :inputs].contiguous())
        y = F.batch_norm(y, None, None, o["gamma"][:outputs], o["beta"][:outputs], True, 0.1, EPSILON)
        return _ofa_activation(y + o["shortcut"], case.activation)
    known = _unit_statistics(x) if case.operation in KNOWN_STATISTICS else None
    x = F.batch_norm(x, *(known or (None, None)), o["gamma"][:inputs], o["beta"][:inputs], known is None, 0.1, EPSILON)
    x = _ofa_activation(x, case.activation)
    if case.operation == "squeeze_excite":
        inner = reduced(inputs)
        y = x.mean(3, keepdim=True).mean(2, keepdim=True)
        y = F.relu(F.conv2d(y, o["reduce_weight"][:inner, :inputs, None, None].contiguous(), o["reduce_bias"][:inner]))
        y = F.conv2d(y, o["expand_weight"][:inputs, :inner, None, None].contiguous(), o["expand_bias"][:inputs])
        return x * (F.relu6(y + 3) / 6)
    if case.operation in ("pointwise", "conv"):
        weight = o["weight"][:outputs, :inputs].contiguous()
        return F.conv2d(x, weight, stride=case.stride, padding=case.kernel // 2)
    start = (7 - case.kernel) // 2
    centre = slice(start, start + case.kernel)
    weight = o["weight"][:inputs, :, centre, centre].contiguous()
    return F.conv2d(x, weight, stride=case.stride, padding=case.kernel // 2, groups=inputs)


def _ofa_activation(x: Tensor, activation: str) -> Tensor:
    return x * F.relu6(x + 3) / 6 if activation == "h_swish" else reference.ACTIVATIONS[activation](x)


def _unit_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean 0 and, with batch norm's ε, variance 1."""
    dtype = x.dtype if x.dtype == torch.float64 else torch.float32
    zeros = torch.zeros(x.shape[1], dtype=dtype, device=x.device)
    return zeros, zeros + (1 - EPSILON)


def _channels_last(operands: Operands) -> Operands:
    return {
        name: value.contiguous(memory_format=torch.channels_last) if name in ACTIVATIONS else value
        for name, value in operands.items()
    }


def _autocast(device: torch.device, dtype: torch.dtype) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)


def _tolerance(dtype: torch.dtype) -> float:
    """Float32 sums of thousands of terms; bfloat16 rounds each stored value by up to 2⁻⁹, several times in a row."""
    return 1e-5 if dtype == torch.float32 else 2e-2
