"""Sorting of channels by importance, so that leading-channel subnets keep the important ones.

Done before narrower subnets train (OFA, Cai et al., ICLR 2020, §3.3). The full model computes the same function
afterwards, up to rounding; so do subnets that were trained before, where channels are sorted between the bounds that
they use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.supernet.blocks import BLOCKS
from pipeline.supernet.blocks.block import ChannelGroup
from pipeline.supernet.part import StageSpace
from pipeline.supernet.shapes import parts
from pipeline.supernet.space import Space


@dataclass(frozen=True)
class ChannelOrder:
    """A permutation of one axis of one tensor of the state, by name."""

    tensor: str
    axis: int
    order: Tensor


def channel_groups(space: Space, trained: Space | None = None) -> list[ChannelGroup]:
    """What may be sorted in the supernet of `space`.

    Args:
        trained: the restriction of `space` whose subnets train already, so that they keep their channels; by default
            the full model alone, so that all channels of a group change places.
    """
    groups: list[ChannelGroup] = []
    shapes = iter(parts(space, space.largest()).stages)
    inputs = next(part.widths for part in reversed((trained or space).stem) if part.widths)
    for index, stage in enumerate(space.stages):
        for position in range(stage.depths[-1]):
            middles = _middles(trained.stages[index], position, inputs) if trained else ()
            groups += BLOCKS[stage.block].channel_groups(next(shapes), middles)
            inputs = (trained or space).stages[index].widths
    return groups


def channel_orders(state: Mapping[str, Tensor], groups: Iterable[ChannelGroup]) -> list[ChannelOrder]:
    """The permutations that sort the channels of each group, between its bounds.

    A channel's importance is the L1 norm of the weights that read it: point-linear's for the expanded channels, the
    excite layer's for the reduced ones.

    Args:
        state: the supernet's full state by name.
    """
    orders: list[ChannelOrder] = []
    for group in groups:
        weight, axis = state[group.readers[0].tensor], group.readers[0].axis
        importance = weight.abs().sum([other for other in range(weight.ndim) if other != axis])
        order = torch.cat(list(_descending(importance, group.bounds)))
        orders += [ChannelOrder(*each, order) for each in (*group.producers, *group.readers)]
    return orders


def reorganise(tensors: Mapping[str, Tensor], orders: Iterable[ChannelOrder]) -> dict[str, Tensor]:
    """`tensors` with `orders` applied; for the weights, and for momentum of the same names and shapes alike."""
    reorganised = dict(tensors)
    for each in orders:
        if each.tensor in reorganised:
            reorganised[each.tensor] = reorganised[each.tensor].index_select(each.axis, each.order)
    return reorganised


def _middles(stage: StageSpace, position: int, inputs: tuple[int, ...]) -> set[int]:
    """Numbers of middle channels that the block at `position` can have, none where it is never active."""
    return {
        BLOCKS[stage.block].middle(width, outputs, choice.expand)
        for width in inputs
        for outputs in stage.widths
        for choice in (stage.block_choices(position) if position < stage.depths[-1] else ())
    }


def _descending(importance: Tensor, bounds: Iterable[int]) -> Iterator[Tensor]:
    """The order of the channels, from bound to bound."""
    start = 0
    for end in (*bounds, len(importance)):
        # Stable, so that equal importances keep their order on every machine.
        yield start + torch.sort(importance[start:end], descending=True, stable=True).indices
        start = end
