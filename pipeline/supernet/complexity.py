"""MACs and parameters of a subnet, from its shapes alone.

MACs are multiply-accumulates of convolution and linear layers at batch 1, without biases and batch norm;
parameters are all trainable ones of the extracted network (these are the sizes that the literature reports).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pipeline.supernet.blocks import BLOCKS
from pipeline.supernet.layer import BlockShape, Layer
from pipeline.supernet.shapes import parts
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet


@dataclass(frozen=True)
class Complexity:
    macs: int
    parameters: int

    def __add__(self, other: Complexity) -> Complexity:
        return Complexity(self.macs + other.macs, self.parameters + other.parameters)


def complexity(space: Space, subnet: Subnet, resolution: int | None = None) -> Complexity:
    """MACs and parameters of `subnet` as an extracted network, at `resolution` (default: the subnet's own)."""
    stem, stages, head = parts(space, subnet, resolution)
    sizes = [part_complexity(part) for part in (*stem, *stages, *head)]
    return Complexity(sum(size.macs for size in sizes), sum(size.parameters for size in sizes))


@lru_cache(maxsize=100_000)
def part_complexity(part: Layer | BlockShape) -> Complexity:
    """MACs and parameters of a layer or a block; kept, as a space has few different blocks and very many subnets."""
    layers = (part,) if isinstance(part, Layer) else BLOCKS[part.kind].layers(part)
    return sum(map(layer_complexity, layers), Complexity(0, 0))


def layer_complexity(layer: Layer) -> Complexity:
    """MACs and parameters of one layer and its batch norm."""
    if not layer.has_weights:
        return Complexity(0, 0)
    inputs = 1 if layer.kind == "depthwise" else layer.inputs
    weights = inputs * layer.outputs * layer.kernel**2
    others = layer.outputs * (int(layer.bias) + 2 * (layer.norm is not None))
    return Complexity(weights * layer.side**2, weights + others)
