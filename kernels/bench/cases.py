"""What is measured: operations in a network's shapes, and the least work that each of them is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Operation = Literal["pointwise", "depthwise", "conv", "residual", "squeeze_excite", "linear", "cross_entropy"]
Direction = Literal["forward", "backward"]
DIRECTIONS: tuple[Direction, Direction] = ("forward", "backward")

# One unit of work; the same for all contenders.
UNITS: dict[Operation, str] = {
    "pointwise": "batch norm and activation of the input, 1×1 convolution, one tensor's statistics "
    "(ours: the output's, those of the input being known; others: the input's)",
    "depthwise": "as pointwise, with a depthwise k×k convolution of the centre of 7×7 kernels",
    "conv": "batch norm with known statistics, activation, k×k convolution over all channels (ours: the library's)",
    "residual": "1×1 convolution, batch norm with its statistics, shortcut added, activation",
    "squeeze_excite": "batch norm with known statistics, activation, squeeze-and-excite",
    "linear": "linear layer with bias",
    "cross_entropy": "cross-entropy with soft labels from teacher's logits",
}


@dataclass(frozen=True)
class Case:
    """One operation in one shape: input [batch, inputs, side, side], `outputs` channels.

    Attributes:
        activation: of the input, after batch norm; of a residual, of the sum.
    """

    operation: Operation
    batch: int
    inputs: int
    outputs: int
    side: int = 1
    kernel: int = 1
    stride: int = 1
    activation: str = "identity"

    @property
    def shape(self) -> str:
        """For people: channels, side of the input in pixels, kernel and stride, and the activation if there is one."""
        if self.operation in ("linear", "cross_entropy"):
            return f"{self.inputs} → {self.outputs}" if self.operation == "linear" else f"{self.inputs} classes"
        one = self.operation in ("depthwise", "squeeze_excite")
        parts = [f"{self.inputs}" if one else f"{self.inputs} → {self.outputs}", f"{self.side} px"]
        if self.operation in ("depthwise", "conv"):
            parts.append(f"{self.kernel}×{self.kernel} / {self.stride}")
        return ", ".join(parts if self.activation == "identity" else [*parts, self.activation])

    @property
    def output_side(self) -> int:
        return (self.side - 1) // self.stride + 1


class Work(NamedTuple):
    """The least that must be done: every operand read once, every result written once; products and sums counted."""

    bytes: int
    flops: int


def least_work(case: Case, direction: Direction, element_bytes: int) -> Work:
    """What `case` needs at least, if nothing is kept between passes.

    Backward reads what forward read, the gradient of the output and, where batch norm's statistics depend on it, the
    output; and writes the gradients of all inputs. Only the products of convolutions and linear layers are counted as
    operations: on every machine at hand the rest takes no time beside the memory that it goes over.

    Args:
        element_bytes: of an activation; weights have 4 bytes.
    """
    x = case.batch * case.inputs * case.side**2 * element_bytes
    y = case.batch * case.outputs * case.output_side**2 * element_bytes
    pixels = case.batch * case.output_side**2
    match case.operation:
        case "depthwise":
            weight, products = case.inputs * case.kernel**2, pixels * case.inputs * case.kernel**2
        case "squeeze_excite":
            weight = 2 * case.inputs * reduced(case.inputs)
            products = case.batch * weight
        case "cross_entropy":
            weight = products = 0
        case _:
            weight = case.inputs * case.outputs * case.kernel**2
            products = pixels * weight
    if case.operation == "cross_entropy":
        # Float32 logits of both networks in; out come the loss (nothing beside them) or the gradient of one.
        logits = 4 * case.batch * case.inputs
        return Work(2 * logits if direction == "forward" else 3 * logits, 0)
    shortcut = y if case.operation == "residual" else 0
    if direction == "forward":
        return Work(x + shortcut + y + 4 * weight, 2 * products)
    output = y if case.operation in ("pointwise", "depthwise", "residual") else 0
    # The shortcut's gradient is the output's own: nothing is written for it.
    return Work(x + output + y + x + 8 * weight, 4 * products)


def reduced(channels: int) -> int:
    """Channels inside squeeze-and-excite: a quarter, to the nearest multiple of 8."""
    return max(8, int(channels / 4 + 4) // 8 * 8)
