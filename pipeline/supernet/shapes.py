"""What a subnet consists of: its blocks and layers, in order of execution, with all of their shapes.

This is the one statement of it. The supernet's forward pass, the plain network, the sizes, and whatever else needs to
know the layers of a subnet follow it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pipeline.supernet.blocks import BLOCKS
from pipeline.supernet.layer import BlockShape, Layer, strided
from pipeline.supernet.part import LayerSpace, StageSpace
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import BlockChoice, Subnet

_COLOURS = 3


class Parts(NamedTuple):
    """A subnet's parts, in order of execution."""

    stem: tuple[Layer | BlockShape, ...]
    stages: tuple[BlockShape, ...]
    head: tuple[Layer, ...]


def layers(space: Space, subnet: Subnet, resolution: int | None = None) -> tuple[Layer, ...]:
    """The layers of `subnet`, in order of execution; a block's shortcut comes last of its layers.

    Their names are those of the supernet's modules, and of the extracted network's.

    Args:
        resolution: side of the input, pixels; the subnet's own by default.
    """
    found: list[Layer] = []
    stem, stages, head = parts(space, subnet, resolution)
    for part in (*stem, *stages, *head):
        found += [part] if isinstance(part, Layer) else BLOCKS[part.kind].layers(part)
    return tuple(found)


def parts(space: Space, subnet: Subnet, resolution: int | None = None) -> Parts:
    """The layers and blocks of `subnet`; see `layers`."""
    walk = _Walk(space, resolution or subnet.resolution)
    stem: list[Layer | BlockShape] = []
    if space.loaded is not None:
        stem.append(walk.layer(LayerSpace("resize", "resize"), None))
    chosen = iter(subnet.stem)
    for part in space.stem:
        choice = next(chosen) if part.is_chosen else None
        if isinstance(part, LayerSpace):
            stem.append(walk.layer(part, choice))
        else:
            depth = part.depths[-1] if choice is None else choice
            stem += walk.stage(part, None, (part.block_choices(0)[-1],) * depth)
    stages = [
        shape
        for stage, choice in zip(space.stages, subnet.stages, strict=True)
        for shape in walk.stage(stage, choice.width, choice.blocks)
    ]
    chosen = iter(subnet.head)
    head = [walk.layer(part, next(chosen) if part.is_chosen else None) for part in space.head]
    return Parts(tuple(stem), tuple(stages), tuple(head))


class _Walk:
    """Through a network, keeping what a part passes to the next: its channels, and their side."""

    def __init__(self, space: Space, side: int) -> None:
        self.epsilon = space.epsilon
        self.channels, self.side, self.index = _COLOURS, side, 0

    def layer(self, part: LayerSpace, width: int | None) -> Layer:
        inputs = self.channels
        self.channels = width or (part.widths[-1] if part.widths else inputs * part.expand)
        self.side = 1 if part.kind in ("pool", "linear") else strided(self.side, part.stride)
        return Layer(
            part.name, part.kind, inputs, self.channels, part.kernel, part.stride, self.side,
            part.norm, part.activation, part.bias, self.epsilon,
        )  # fmt: skip

    def stage(self, stage: StageSpace, width: int | None, blocks: tuple[BlockChoice, ...]) -> Iterator[BlockShape]:
        for position, choice in enumerate(blocks):
            yield self._block(stage, position, width or (stage.widths[-1] if stage.widths else self.channels), choice)
        self.index += stage.depths[-1]

    def _block(self, stage: StageSpace, position: int, outputs: int, choice: BlockChoice) -> BlockShape:
        inputs, side, stride = self.channels, self.side, stage.stride if position == 0 else 1
        self.channels, self.side = outputs, strided(side, stride)
        shortcut = stage.shortcut
        if shortcut == "identity" and (stride, inputs) != (1, outputs):
            shortcut = "none"
        elif shortcut == "projected" and position > 0:
            shortcut = "identity"
        return BlockShape(
            index=self.index + position,
            kind=stage.block,
            inputs=inputs,
            middle=BLOCKS[stage.block].middle(inputs, outputs, choice.expand),
            outputs=outputs,
            kernel=choice.kernel,
            stride=stride,
            activation=stage.activation,
            squeeze_excite=stage.squeeze_excite,
            has_expand_conv=stage.has_expand_conv,
            shortcut=shortcut,
            side=side,
            epsilon=self.epsilon,
        )
