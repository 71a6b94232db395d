"""A subnet as a vector: a one for each value that it chooses, by the name of the choice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.supernet.dimension import Dimension
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet, SubnetError


def legal(space: Space) -> dict[str, tuple[str, ...]]:
    """The values of each choice of `space`, as text, by the choice's name; in order, each value once."""
    return {_name(each): tuple(dict.fromkeys(map(str, each.choices))) for each in space.dimensions()}


def chosen(space: Space, subnet: Subnet) -> Iterator[tuple[str, str]]:
    """The choices that `subnet` comes to, and the value of each, named as `legal` does; blocks left out have none."""
    return ((_name(each), str(value)) for each, value in space.choices(subnet).items())


def encode(space: Space, subnet: Subnet) -> np.ndarray:
    """`subnet` as float64 [values], over the values of all choices of `space`: 1 where it chooses one, else 0.

    Raises:
        SubnetError: for a resolution that is none of the space's.
    """
    columns = [(name, value) for name, values in legal(space).items() for value in values]
    ones = set(chosen(space, subnet))
    if strange := ones.difference(columns):
        name, value = min(strange)
        raise SubnetError(f"subnet {subnet}: {name} {value} is none of the space's, which are {legal(space)[name]}")
    return np.array([column in ones for column in columns], dtype=np.float64)


def _name(dimension: Dimension) -> str:
    """`depth 2` (of the second stage), `kernel 2.3` (of its third block), `resolution`."""
    _, stage, block = dimension.address
    place = ".".join(str(index + 1) for index in (stage, block) if index is not None)
    return f"{dimension.what} {place}".strip()
