"""Tensors of a published state dict as those of our supernet, and the other way round: the same values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from data_shards.one_line import shown
from pipeline.errors import UsageError
from pipeline.published.besides import Besides
from pipeline.published.layout import counter, places
from pipeline.published.names import norm_of, normal
from pipeline.supernet.belonging import without_memory
from pipeline.supernet.space import Space

_MOST_CHANNELS = 1 << 16


class Taken(NamedTuple):
    """What was made of a published state dict.

    Attributes:
        weights: by our names.
        besides: by their own, what the network has no place for.
    """

    weights: dict[str, Tensor]
    besides: dict[str, Tensor]


def by_normal_name(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the network by their normal names.

    Raises:
        UsageError: where two names are spellings of one.
    """
    spelled: dict[str, str] = {}
    for name in state:
        if norm_of(name) is None and (other := spelled.setdefault(normal(name), name)) != name:
            raise UsageError(f"{shown(name)} and {shown(other)} are spellings of one name")
    return {simple: state[name] for simple, name in spelled.items()}


def to_ours(state: Mapping[str, Tensor], space: Space) -> Taken:
    """The weights of our supernet of `space`.

    Raises:
        UsageError: naming what is missing, of another shape or dtype, not finite, or has no place; with what was
            expected.
    """
    found, wanted = by_normal_name(state), places(space)
    own = {normal(place.name): place for place in wanted.values()}
    spelled = {normal(name): name for name in state if norm_of(name) is None}
    besides = {name: tensor for name, tensor in state.items() if norm_of(name) is not None}
    problems: list[str] = []
    for simple, place in own.items():
        expected = f"{_words(place.shape)} is expected"
        if simple not in found:
            problems.append(f"lacks {place.name}: {expected}")
        elif (found[simple].dtype, tuple(found[simple].shape)) != (torch.float32, place.shape):
            problems.append(f"{spelled[simple]} is {_words(found[simple].shape, found[simple].dtype)}: {expected}")
        elif reason := _wrong_values(simple, found[simple]):
            problems.append(f"{spelled[simple]} {reason}")
    unknown = [spelled[simple] for simple in found if simple not in own]
    unknown += [name for name in besides if f"{norm_of(name)}.running_var" not in own]
    problems += [f"has {shown(name)}, which has no place in it" for name in unknown]
    problems += [f"{name} is {_words(tensor.shape, tensor.dtype)}" for name, tensor in besides.items() if _odd(tensor)]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UsageError(f"{problems[0]}{more}")
    network = without_memory(space).state_dict()
    weights = {name: _own(found[normal(place.name)].reshape(network[name].shape)) for name, place in wanted.items()}
    return Taken(weights, {name: _own(tensor) for name, tensor in besides.items()})


def to_published(weights: Mapping[str, Tensor], space: Space, besides: Besides | None = None) -> dict[str, Tensor]:
    """The state dict that the others' programs know.

    Args:
        weights: of our supernet of `space`.
        besides: what the state dict had besides them that they came from; by default the names are those that are
            published, with counters of zero.

    Raises:
        UsageError: where no published layout has a place for a tensor.
    """
    own: dict[str, Tensor] = {}
    for name, place in places(space).items():
        own[place.name] = weights[name].reshape(place.shape)
        if (counts := counter(place.name)) is not None:
            own[counts] = torch.zeros((), dtype=torch.int64)
    if besides is None:
        return own
    known = {normal(name): tensor for name, tensor in own.items()}
    return {name: besides.tensors[name] if name in besides.tensors else known[normal(name)] for name in besides.names}


def _words(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> str:
    return f"{str(dtype).removeprefix('torch.')} {list(shape)}"


def _odd(tensor: Tensor) -> bool:
    """Whether it is neither a counter nor a statistic of channels."""
    return tensor.dtype not in (torch.int64, torch.float32) or tensor.numel() > _MOST_CHANNELS


def _own(tensor: Tensor) -> Tensor:
    """A copy: tensors of a file may be parts of one another."""
    return tensor.clone(memory_format=torch.contiguous_format)


def _wrong_values(name: str, tensor: Tensor) -> str | None:
    if not tensor.isfinite().all():
        return "has values that are not finite"
    if name.endswith(".running_var") and (tensor < 0).any():
        return "has negative variances"
    return None
