"""MACs and parameters of a subnet, from its shapes alone.

MACs are multiply-accumulates of convolution and linear layers at batch 1, without biases and batch norm;
parameters are all trainable ones of the extracted network (METHOD: the sizes that the literature reports).
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
    macs = parameters = 0
    for part in (*stem, *stages, *head):
        size = layer_complexity(part) if isinstance(part, Layer) else _block_complexity(part)
        macs += size.macs
        parameters += size.parameters
    return Complexity(macs, parameters)


@lru_cache(maxsize=1 << 16)  # every step asks for its subnets: these differ, and their blocks recur
def _block_complexity(shape: BlockShape) -> Complexity:
    return sum(map(layer_complexity, BLOCKS[shape.kind].layers(shape)), Complexity(0, 0))


def layer_complexity(layer: Layer) -> Complexity:
    """MACs and parameters of one layer and its batch norm."""
    if not layer.has_weights:
        return Complexity(0, 0)
    inputs = 1 if layer.kind == "depthwise" else layer.inputs
    weights = inputs * layer.outputs * layer.kernel**2
    others = layer.outputs * (int(layer.bias) + 2 * (layer.norm is not None))
    return Complexity(weights * layer.side**2, weights + others)
