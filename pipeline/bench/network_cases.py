"""The operations that a network's subnets ask for, as cases of the operations' benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from kernels import reference
from kernels.bench.cases import Case, Operation
from kernels.operations import Operations
from pipeline.supernet.space import Space
from pipeline.supernet.supernet import Supernet


def network_cases(space: Space, batch: int) -> list[Case]:
    """What the full model asks for, whose activations are the largest, at its resolution; by operation.

    For each stride, the depthwise convolution with the largest input comes in every kernel size.

    Args:
        batch: images of the cases.
    """
    supernet = _AskingSupernet(space, batch).eval()
    with torch.no_grad():
        supernet(torch.zeros(1, 3, space.resolution, space.resolution), space.largest())
    found = supernet.asked.cases
    depthwise = [case for case in found if case.operation == "depthwise"]
    for stride in {case.stride for case in depthwise}:
        largest = max(
            (case for case in depthwise if case.stride == stride), key=lambda case: case.inputs * case.side**2
        )
        kernels = sorted({kernel for stage in space.stages for kernel in stage.kernels})
        found |= {replace(largest, kernel=kernel): None for kernel in kernels}
    found[Case("cross_entropy", batch, space.classes, space.classes)] = None
    order = get_args(Operation)
    return sorted(found, key=lambda case: order.index(case.operation))


class _AskingSupernet(Supernet):
    """A supernet that notes the operations that it asks for."""

    def __init__(self, space: Space, batch: int) -> None:
        super().__init__(space, kernels="reference")
        self.asked = _Asked(batch)

    def operations(self, device: str) -> Operations:
        return self.asked


class _Made(NamedTuple):
    """What an operation makes: the value, its activation and the pointwise convolution that it comes from."""

    value: Tensor
    activation: str = "identity"
    pointwise: Case | None = None


class _Asked:
    """The operations of `kernels.reference`; each call is a case."""

    name = "asked"

    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.cases: dict[Case, None] = {}  # an ordered set

    def pointwise_conv(self, x: Tensor | _Made, weight: Tensor, outputs: int) -> _Made:
        case = self._note("pointwise", x, outputs)
        return _Made(reference.pointwise_conv(_value(x), weight, outputs), pointwise=case)

    def conv(self, x: Tensor | _Made, weight: Tensor, outputs: int, stride: int) -> _Made:
        self._note("conv", x, outputs, weight.shape[-1], stride)
        return _Made(reference.conv(_value(x), weight, outputs, stride))

    def depthwise_conv(
        self, x: Tensor | _Made, weight: Tensor, kernel: int, stride: int, transforms: Mapping[str, Tensor]
    ) -> _Made:
        self._note("depthwise", x, _value(x).shape[1], kernel, stride)
        return _Made(reference.depthwise_conv(_value(x), weight, kernel, stride, transforms))

    def batch_norm(
        self,
        x: _Made,
        weight: Tensor,
        bias: Tensor,
        running: tuple[Tensor, Tensor] | None,
        training: bool,
        momentum: float,
        epsilon: float,
        activation: str,
    ) -> _Made:
        y = reference.batch_norm(x.value, weight, bias, running, training, momentum, epsilon, activation)
        return x._replace(value=y, activation=activation)

    def squeeze_excite(
        self, x: _Made, reduce: tuple[Tensor, Tensor], expand: tuple[Tensor, Tensor], reduced: int
    ) -> Tensor:
        self._note("squeeze_excite", x, x.value.shape[1])
        return reference.squeeze_excite(x.value, reduce, expand, reduced)

    def settle(self, x: Tensor | _Made, shortcut: Tensor | None, activation: str = "identity") -> Tensor:
        if isinstance(x, _Made) and x.pointwise and shortcut is not None:
            self.cases[replace(x.pointwise, operation="residual", activation=activation)] = None
        return reference.settle(_value(x), _value(shortcut), activation)

    def pool(self, x: Tensor | _Made) -> Tensor:
        return reference.pool(_value(x))

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None, outputs: int) -> Tensor:
        self.cases[Case("linear", self.batch, x.shape[1], outputs)] = None
        return reference.linear(x, weight, bias, outputs)

    def _note(self, operation: Operation, x: Tensor | _Made, outputs: int, kernel: int = 1, stride: int = 1) -> Case:
        activation = x.activation if isinstance(x, _Made) else "identity"
        inputs, side = _value(x).shape[1:3]
        case = Case(operation, self.batch, inputs, outputs, side, kernel, stride, activation)
        self.cases[case] = None
        return case


def _value(x: Any) -> Any:
    return x.value if isinstance(x, _Made) else x
