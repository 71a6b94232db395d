"""AttentiveNAS's and AlphaNet's static networks, recognised from shapes: they have blocks of the active ones alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from pipeline.supernet.part import StageSpace
from pipeline.supernet.space import Space


class _Block(NamedTuple):
    inputs: int
    middle: int
    outputs: int
    kernel: int
    expands: bool
    squeeze_excite: bool


def static_space(state: Mapping[str, Tensor], elastic: Space) -> Space | None:
    """The part of `elastic` that is one network, with the shapes of `state`.

    None where no part of it has them, or where all of it has them: the largest network has the shapes of the supernet.

    Where the last two stages share their width, the blocks are of either alike: what they compute is the same.

    Args:
        state: tensors by their normal names.
    """
    stem, last = (_rows(state, f"{name}.conv.weight") for name in ("first_conv", "last_conv.feature_mix_layer"))
    stages = _split(tuple(_blocks(state, stem)), elastic.stages)
    if stages is None or stem not in elastic.stem[0].widths or last not in elastic.head[-2].widths:
        return None
    if (stem, last) == (elastic.stem[0].widths[-1], elastic.head[-2].widths[-1]) and stages == _largest(elastic):
        return None
    first, mixed = replace(elastic.stem[0], widths=(stem,)), replace(elastic.head[-2], widths=(last,))
    return replace(
        elastic,
        stem=(first, *elastic.stem[1:]),
        stages=stages,
        head=(*elastic.head[:-2], mixed, elastic.head[-1]),
    )


def _blocks(state: Mapping[str, Tensor], inputs: int) -> Iterator[_Block]:
    index = 0
    while (project := state.get(f"blocks.{index}.conv.point_linear.conv.weight")) is not None:
        prefix = f"blocks.{index}.conv"
        depthwise = state.get(f"{prefix}.depth_conv.conv.weight")
        if depthwise is None or not depthwise.ndim or not project.ndim:
            return
        yield _Block(
            inputs,
            len(depthwise),
            len(project),
            depthwise.shape[-1],
            f"{prefix}.inverted_bottleneck.conv.weight" in state,
            f"{prefix}.depth_conv.se.fc.reduce.weight" in state,
        )
        inputs, index = len(project), index + 1


def _split(blocks: tuple[_Block, ...], stages: tuple[StageSpace, ...]) -> tuple[StageSpace, ...] | None:
    """Each of `stages` with the one choice that the leading blocks leave it, the others with the rest."""
    if not stages:
        return None if blocks else ()
    stage, others = stages[0], stages[1:]
    for depth in reversed(stage.depths):
        chosen = _choice(blocks[:depth], stage) if depth <= len(blocks) else None
        rest = _split(blocks[depth:], others) if chosen else None
        if chosen and rest is not None:
            return (chosen, *rest)
    return None


def _choice(blocks: tuple[_Block, ...], stage: StageSpace) -> StageSpace | None:
    """The stage of exactly these blocks, where they can be of it."""
    first, ratios = blocks[0], {block.middle / block.inputs for block in blocks if block.inputs}
    alike = {(block.outputs, block.kernel, block.expands, block.squeeze_excite) for block in blocks}
    if len(ratios) > 1 or alike != {(first.outputs, first.kernel, stage.has_expand_conv, stage.squeeze_excite)}:
        return None
    ratio = ratios.pop() if ratios else 0
    if first.outputs not in stage.widths or first.kernel not in stage.kernels or ratio not in stage.expands:
        return None
    return replace(
        stage, widths=(first.outputs,), depths=(len(blocks),), kernels=(first.kernel,), expands=(int(ratio),)
    )


def _largest(elastic: Space) -> tuple[StageSpace, ...]:
    return tuple(
        replace(
            stage,
            widths=stage.widths[-1:],
            depths=stage.depths[-1:],
            kernels=stage.kernels[-1:],
            expands=stage.expands[-1:],
        )
        for stage in elastic.stages
    )


def _rows(state: Mapping[str, Tensor], name: str) -> int:
    tensor = state.get(name)
    return len(tensor) if tensor is not None and tensor.ndim else 0
