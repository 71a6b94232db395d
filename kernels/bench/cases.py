"""What is measured: operations of MobileNetV3 in real shapes, and the least work that each of them is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

Operation = Literal["pointwise", "depthwise", "residual", "squeeze_excite", "linear", "cross_entropy"]
Direction = Literal["forward", "backward"]
DIRECTIONS: tuple[Direction, Direction] = ("forward", "backward")

# One unit of work; the same for all contenders.
UNITS: dict[Operation, str] = {
    "pointwise": "batch norm and h-swish of the input, 1×1 convolution, one tensor's statistics "
    "(ours: the output's, those of the input being known; others: the input's)",
    "depthwise": "as pointwise, with a depthwise k×k convolution of the centre of 7×7 kernels",
    "residual": "1×1 convolution, batch norm with its statistics, shortcut added",
    "squeeze_excite": "batch norm with known statistics, h-swish, squeeze-and-excite",
    "linear": "linear layer with bias",
    "cross_entropy": "cross-entropy with soft labels from teacher's logits",
}

# Side of the activations after the stem and after each of the five stages, by the image's resolution, pixels.
_SIDES = {32: (32, 32, 16, 8, 8, 4), 224: (112, 56, 28, 14, 14, 7)}
RESOLUTIONS = tuple(_SIDES)


@dataclass(frozen=True)
class Case:
    """One operation in one shape: input [batch, inputs, side, side], `outputs` channels."""

    operation: Operation
    batch: int
    inputs: int
    outputs: int
    side: int = 1
    kernel: int = 1
    stride: int = 1

    @property
    def shape(self) -> str:
        """For people: channels, side of the input in pixels, kernel and stride."""
        if self.operation in ("linear", "cross_entropy"):
            return f"{self.inputs} → {self.outputs}" if self.operation == "linear" else f"{self.inputs} classes"
        if self.operation == "depthwise":
            return f"{self.inputs}, {self.side} px, {self.kernel}×{self.kernel} / {self.stride}"
        channels = f"{self.inputs} → {self.outputs}" if self.operation != "squeeze_excite" else f"{self.inputs}"
        return f"{channels}, {self.side} px"

    @property
    def output_side(self) -> int:
        return (self.side - 1) // self.stride + 1


def cases(resolution: int, batch: int) -> Iterator[Case]:
    """The shapes of OFA's MobileNetV3 for images of `resolution` pixels (32 or 224).

    The full model's, whose activations are the largest; among them the four largest depthwise ones.
    """
    sides = _SIDES[resolution]
    # channels, stage of the input and of the output, kernel
    for channels, before, after, kernel in (
        (16, 0, 0, 3),
        (96, 0, 1, 7),
        (144, 1, 1, 3),
        (144, 1, 1, 5),
        (144, 1, 1, 7),
        (144, 1, 2, 3),
        (144, 1, 2, 5),
        (144, 1, 2, 7),
        (240, 2, 2, 7),
        (480, 3, 3, 5),
        (672, 4, 4, 5),
        (960, 5, 5, 7),
    ):
        stride = sides[before] // sides[after]
        yield Case("depthwise", batch, channels, channels, sides[before], kernel, stride)
    for inputs, outputs, stage in (
        (24, 144, 1),
        (144, 24, 1),
        (240, 40, 2),
        (80, 480, 3),
        (672, 112, 4),
        (160, 960, 5),
        (960, 160, 5),
    ):
        yield Case("pointwise", batch, inputs, outputs, sides[stage])
    for inputs, outputs, stage in ((144, 24, 1), (240, 40, 2), (672, 112, 4), (960, 160, 5)):
        yield Case("residual", batch, inputs, outputs, sides[stage])
    for channels, stage in ((240, 2), (672, 4), (960, 5)):
        yield Case("squeeze_excite", batch, channels, channels, sides[stage])
    yield Case("linear", batch, 960, 1280)
    yield Case("cross_entropy", batch, 1000, 1000)


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
            weight, products = case.inputs * case.outputs, pixels * case.inputs * case.outputs
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
