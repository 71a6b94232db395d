"""What a network consists of, in small: a layer, and a block of layers, with all that tells what they compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Activation = Literal["identity", "relu", "relu6", "h_swish", "swish", "h_sigmoid"]
# `pool` is the mean over height and width; `resize` is bicubic. Neither has weights, nor has `max_pool`.
LayerKind = Literal["conv", "depthwise", "linear", "pool", "max_pool", "resize"]
Shortcut = Literal["none", "identity", "projected"]


class Layer(NamedTuple):
    """One layer of a subnet, with the batch norm and activation that follow it.

    Convolutions are padded by half their kernel. A `linear` layer of a convolutional part (squeeze-and-excite) computes
    on pooled features.

    Attributes:
        name: of the supernet's module that computes it, and of the extracted network's.
        side: of its output, pixels.
        norm: name of the batch norm's module; None where there is none.
        epsilon: of the batch norm.
    """

    name: str
    kind: LayerKind
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    side: int = 1
    norm: str | None = None
    activation: Activation = "identity"
    bias: bool = False
    epsilon: float = 1e-5

    @property
    def has_weights(self) -> bool:
        return self.kind in ("conv", "depthwise", "linear")


@dataclass(frozen=True)
class BlockShape:
    """One block of a subnet.

    Attributes:
        index: among the supernet's blocks, active or not.
        kind: of the block, by the name in `pipeline.supernet.blocks.BLOCKS`.
        middle: channels between the block's first and last convolution, which its expand ratio tells.
        has_expand_conv: whether a convolution makes them; else they are the inputs.
        shortcut: what is added to the output: nothing, the input, or the input projected to the output's size.
        side: of the input, pixels.
    """

    index: int
    kind: str
    inputs: int
    middle: int
    outputs: int
    kernel: int
    stride: int
    activation: Activation
    squeeze_excite: bool
    has_expand_conv: bool
    shortcut: Shortcut
    side: int
    epsilon: float

    @property
    def name(self) -> str:
        """Of the supernet's module."""
        return f"blocks.{self.index}"

    @property
    def prefix(self) -> str:
        """What the names of its layers begin with."""
        return f"{self.name}."

    @property
    def reduced(self) -> int:
        """Channels between squeeze-and-excite's two layers."""
        return reduced_channels(self.middle)


def round_channels(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of `divisor` that is not below 90 % of `channels` (MobileNet's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


def reduced_channels(channels: int) -> int:
    """Channels between squeeze-and-excite's two layers, for that many around them: a quarter (MobileNetV3)."""
    return round_channels(channels // 4)


def strided(side: int, stride: int) -> int:
    """Side of a convolution's output, pixels."""
    return (side - 1) // stride + 1
