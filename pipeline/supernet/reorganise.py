"""Sorting of expanded channels by importance, so that leading-channel subnets keep the important ones.

Done once, before the first subnet trains (METHOD §2.2; OFA, Cai et al., ICLR 2020, §3.3). The full model computes
the same function afterwards, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ChannelOrder:
    """A permutation of one axis of one tensor of the state, by name."""

    tensor: str
    axis: int
    order: Tensor


def channel_orders(state: Mapping[str, Tensor]) -> list[ChannelOrder]:
    """The permutations that sort each block's expanded channels, and squeeze-and-excite's reduced ones.

    A channel's importance is the L1 norm of the weights that read it: point-linear's for the expanded channels, the
    excite layer's for the reduced ones. The fixed first block, which has no expand convolution, is left alone.

    Args:
        state: the supernet's full state by name.
    """
    orders: list[ChannelOrder] = []
    for name, project in state.items():
        if not name.endswith(".project.weight"):
            continue
        block = name.removesuffix("project.weight")
        if f"{block}expand.weight" not in state:
            continue
        expanded = _descending(project.abs().sum((0, 2, 3)))  # project: [outputs, expanded, 1, 1]
        orders += _permute(state, expanded, 0, _produces_expanded(block))
        orders += _permute(state, expanded, 1, (f"{block}project.weight", f"{block}squeeze_excite.reduce.weight"))
        excite = state.get(f"{block}squeeze_excite.expand.weight")  # [expanded, reduced]
        if excite is not None:
            reduced = _descending(excite.abs().sum(0))
            orders += _permute(
                state, reduced, 0, (f"{block}squeeze_excite.reduce.weight", f"{block}squeeze_excite.reduce.bias")
            )
            orders += _permute(state, reduced, 1, (f"{block}squeeze_excite.expand.weight",))
    return orders


def reorganise(tensors: Mapping[str, Tensor], orders: Iterable[ChannelOrder]) -> dict[str, Tensor]:
    """`tensors` with `orders` applied; for the weights, and for momentum of the same names and shapes alike."""
    reorganised = dict(tensors)
    for each in orders:
        if each.tensor in reorganised:
            reorganised[each.tensor] = reorganised[each.tensor].index_select(each.axis, each.order)
    return reorganised


def _produces_expanded(block: str) -> tuple[str, ...]:
    bn = ("weight", "bias", "running_mean", "running_var")
    return (
        f"{block}expand.weight",
        f"{block}depthwise.weight",
        *(f"{block}{layer}_bn.{part}" for layer in ("expand", "depthwise") for part in bn),
        f"{block}squeeze_excite.expand.weight",
        f"{block}squeeze_excite.expand.bias",
    )


def _permute(state: Mapping[str, Tensor], order: Tensor, axis: int, names: Iterable[str]) -> list[ChannelOrder]:
    return [ChannelOrder(name, axis, order) for name in names if name in state]


def _descending(importance: Tensor) -> Tensor:
    # Stable, so that equal importances keep their order on every machine.
    return torch.sort(importance, descending=True, stable=True).indices
