"""MACs and parameters of a subnet, from its shapes alone.

MACs are multiply-accumulates of convolution and linear layers at batch 1, without biases and batch norm;
parameters are all trainable ones of the extracted network (METHOD: the sizes that the literature reports).
"""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.supernet.space import BlockShape, Space, Subnet


@dataclass(frozen=True)
class Complexity:
    macs: int
    parameters: int

    def __add__(self, other: Complexity) -> Complexity:
        return Complexity(self.macs + other.macs, self.parameters + other.parameters)


def complexity(space: Space, subnet: Subnet, resolution: int | None = None) -> Complexity:
    """MACs and parameters of `subnet` as an extracted network, at `resolution` (default: the subnet's own)."""
    side = _strided(resolution or subnet.resolution, space.stem_stride)
    total = _conv_bn(3, space.stem, kernel=3, side=side)
    channels = space.stem
    for block in space.blocks(subnet):
        total += _block(block, side)
        side = _strided(side, block.stride)
        channels = block.outputs
    expanded, mixed = space.last
    total += _conv_bn(channels, expanded, kernel=1, side=side)
    total += Complexity(expanded * mixed, expanded * mixed)
    return total + _linear(mixed, space.classes)


def _block(block: BlockShape, side: int) -> Complexity:
    total = Complexity(0, 0)
    if block.has_expand_conv:
        total += _conv_bn(block.inputs, block.expanded, kernel=1, side=side)
    side = _strided(side, block.stride)
    total += _conv_bn(1, block.expanded, kernel=block.kernel, side=side)
    if block.squeeze_excite:
        total += _linear(block.expanded, block.reduced) + _linear(block.reduced, block.expanded)
    return total + _conv_bn(block.expanded, block.outputs, kernel=1, side=side)


def _strided(side: int, stride: int) -> int:
    return (side - 1) // stride + 1


def _conv_bn(inputs: int, outputs: int, kernel: int, side: int) -> Complexity:
    weights = inputs * outputs * kernel * kernel
    return Complexity(weights * side * side, weights + 2 * outputs)


def _linear(inputs: int, outputs: int) -> Complexity:
    return Complexity(inputs * outputs, inputs * outputs + outputs)
