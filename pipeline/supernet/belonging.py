"""Whether tensors are those of a network: the names, shapes and dtypes that it has, and no others."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.supernet.space import Space
from pipeline.supernet.supernet import Supernet


def without_memory(space: Space) -> Supernet:
    """The supernet of `space` on the meta device: all of its names and shapes, and no weights."""
    with torch.device("meta"):
        return Supernet(space)


def difference(network: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """A few words on the first tensor in which `found` is not like the network's; None where it is like them."""
    for name, tensor in network.items():
        if name not in found:
            return f"lacks {name}"
        expected, actual = ((*each.shape, each.dtype) for each in (tensor, found[name]))
        if expected != actual:
            return f"{name} is {_words(found[name])}, not {_words(tensor)}"
    return next((f"has {name[:60]!r}, which it has no place for" for name in found if name not in network), None)


def _words(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
