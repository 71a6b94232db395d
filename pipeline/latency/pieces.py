"""The pieces that the latency of a subnet is the sum of: what is timed as a graph of its own.

A block is a piece, and so is a convolution of the stem or of the head, with the pooling or resizing beside it; the
linear layers at the end are one together. OFA's MobileNetV3 has 90 blocks and 4 others at a resolution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from torch import nn

from pipeline.supernet.blocks import BLOCKS
from pipeline.supernet.complexity import part_complexity
from pipeline.supernet.fold import fold_batch_norm
from pipeline.supernet.layer import BlockShape, Layer
from pipeline.supernet.plain import Path, plain_layer
from pipeline.supernet.shapes import parts
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet

Piece = tuple[Layer | BlockShape, ...]


def pieces(space: Space, subnet: Subnet) -> list[Piece]:
    """The pieces of a subnet, in order of execution."""
    stem, stages, head = parts(space, subnet)
    return [*split(stem), *((block,) for block in stages), *split(head)]


def split(found: Sequence[Layer | BlockShape]) -> Iterator[Piece]:
    """The pieces of a stem, of a block or of a head."""
    piece: Piece = ()
    for part in found:
        if piece and not _belongs(piece, part):
            yield piece
            piece = ()
        piece = (*piece, part)
    if piece:
        yield piece


def _belongs(piece: Piece, part: Layer | BlockShape) -> bool:
    if isinstance(part, BlockShape):
        return False
    alone = all(isinstance(each, Layer) and not each.has_weights for each in piece)
    last = piece[-1]
    both_linear = isinstance(last, Layer) and part.kind == last.kind == "linear"
    return alone or both_linear or not part.has_weights


def key(piece: Piece) -> str:
    """What pieces that compute the same have in common: all of their shapes, and no name or place in the network."""
    return " + ".join(_block(part) if isinstance(part, BlockShape) else _layer(part) for part in piece)


def _block(shape: BlockShape) -> str:
    words = [
        f"{shape.kind} {shape.side}px {shape.inputs}-{shape.middle}-{shape.outputs}",
        f"kernel {shape.kernel}",
        f"stride {shape.stride}",
        shape.activation,
        f"shortcut {shape.shortcut}",
    ]
    words += ["squeeze-excite"] if shape.squeeze_excite else []
    words += [] if shape.has_expand_conv else ["no expand"]
    return " ".join(words)


def _layer(layer: Layer) -> str:
    words = [f"{layer.kind} {layer.inputs}-{layer.outputs}"]
    if layer.kind != "linear":
        words[0] += f" to {layer.side}px"
    if layer.has_weights and layer.kind != "linear":
        words += [f"kernel {layer.kernel}", f"stride {layer.stride}"]
    words += [layer.activation] if layer.activation != "identity" else []
    words += ["bias"] if layer.bias else []
    return " ".join(words)


def parameters(piece: Piece) -> int:
    return sum(part_complexity(part).parameters for part in piece)


def network(piece: Piece) -> nn.Module:
    """The untrained piece as it is run: of torch's own layers, batch norm folded."""
    steps: list[tuple[str, nn.Module]] = []
    for part in piece:
        if isinstance(part, Layer):
            steps += plain_layer(part)
        else:
            block = replace(part, index=0)
            steps.append((block.name, BLOCKS[block.kind].plain(block)))
    return fold_batch_norm(Path(steps).eval())
