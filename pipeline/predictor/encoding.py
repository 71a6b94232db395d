"""Subnets of a space as rows of whole numbers: what predictors and evolution work on.

A row has a number for each dimension of the space, in the order of `Space.dimensions`: the place of the chosen value
among the legal ones. What is chosen for blocks that a subnet does not have is 0: so a subnet has one row, and
duplicates are known by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.supernet.dimension import Dimension
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet, SubnetError

Rows = np.ndarray  # int16 [N, dimensions]


class Encoding:
    """Between subnets of `space` and rows.

    Attributes:
        dimensions: of the space.
        values: legal ones of each dimension, ascending; one that is drawn twice as often is here once.
        counts: how many these are: int16 [dimensions].
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.dimensions = space.dimensions()
        self.values = tuple(tuple(dict.fromkeys(each.choices)) for each in self.dimensions)
        self.counts = np.array([len(values) for values in self.values], np.int16)
        columns = {each.address: column for column, each in enumerate(self.dimensions)}
        self._in_blocks = [column for column, each in enumerate(self.dimensions) if each.block is not None]
        blocks = [self.dimensions[column] for column in self._in_blocks]
        self._positions = np.array([each.block for each in blocks], np.int16)
        self._depths = [columns["depth", each.stage, None] for each in blocks]

    def column(self, what: str, stage: int | None = None, block: int | None = None) -> int | None:
        """Where rows have this choice; None where the space leaves it to none."""
        addresses = (column for column, each in enumerate(self.dimensions) if each.address == (what, stage, block))
        return next(addresses, None)

    def name(self, column: int) -> str:
        """`depth 2` (of the second stage), `kernel 2.3` (of its third block), `resolution`."""
        what, stage, block = self.dimensions[column].address
        place = ".".join(str(index + 1) for index in (stage, block) if index is not None)
        return f"{what} {place}".strip()

    def encode(self, subnets: Sequence[Subnet]) -> Rows:
        """The rows of `subnets`: int16 [N, dimensions].

        Raises:
            SubnetError: where a choice is none of the space's, as a resolution may be that it was not trained at.
        """
        rows = [
            [self._place(column, each, subnet) for column, each in enumerate(self.dimensions)] for subnet in subnets
        ]
        return np.array(rows, np.int16).reshape(len(subnets), len(self.dimensions))

    def decode(self, row: np.ndarray) -> Subnet:
        """The subnet of a row: the inverse of `encode`."""
        chosen = {each: self.values[column][row[column]] for column, each in enumerate(self.dimensions)}
        return self.space.assemble(chosen)

    def active(self, rows: Rows) -> np.ndarray:
        """Whether subnets have the block that a choice is for: bool [N, dimensions]."""
        found = np.ones(rows.shape, bool)
        for column, position, depth in zip(self._in_blocks, self._positions, self._depths, strict=True):
            found[:, column] = self.chosen(rows, depth) > position
        return found

    def canonical(self, rows: Rows) -> Rows:
        """`rows` with 0 for what is chosen for blocks that are not there."""
        return np.where(self.active(rows), rows, 0).astype(np.int16)

    def chosen(self, rows: Rows, column: int) -> np.ndarray:
        """The values that rows choose in a dimension: [N]."""
        return np.array(self.values[column])[rows[:, column]]

    def sample(self, count: int, generator: np.random.Generator) -> Rows:
        """Rows of subnets, every choice drawn independently, uniformly over its different values."""
        return self.canonical(generator.integers(0, self.counts, (count, len(self.counts))).astype(np.int16))

    def sample_spread(self, count: int, generator: np.random.Generator) -> Rows:
        """Rows of subnets from small to large, which independent draws hardly ever are: int16 [count, dimensions].

        Every other one is drawn as by `sample`; for the choices of the rest, values are the likelier the nearer they
        are to a level, which is drawn for each subnet.
        """
        levels = generator.random((count, 1))
        near = generator.binomial(self.counts - 1, levels, (count, len(self.counts)))
        rows = np.where(np.arange(count)[:, None] % 2, self.sample(count, generator), near)
        return self.canonical(rows.astype(np.int16))

    def every(self) -> Rows:
        """The rows of all subnets, of a space that has few: int16 [size, dimensions]."""
        places = np.unravel_index(np.arange(np.prod(self.counts, dtype=np.int64)), self.counts)
        return np.unique(self.canonical(np.stack(places, axis=1).astype(np.int16)), axis=0)

    def size(self) -> int:
        """How many different subnets the space has."""
        product = 1
        for column, each in enumerate(self.dimensions):
            if each.what == "depth":
                product *= sum(self._of_blocks(each.stage, depth) for depth in self.values[column])
            elif each.block is None:
                product *= len(self.values[column])
        return product

    def _of_blocks(self, stage: int | None, depth: int) -> int:
        """How many different blocks there are together in a stage of this depth, where blocks choose."""
        product = 1
        for values, each in zip(self.values, self.dimensions, strict=True):
            if each.stage == stage and each.block is not None and each.block < depth:
                product *= len(values)
        return product

    def _place(self, column: int, dimension: Dimension, subnet: Subnet) -> int:
        value = dimension.of(subnet)
        if value is None:
            return 0
        if value not in self.values[column]:
            raise SubnetError(f"subnet {subnet}: {dimension.what} {value} is none of {list(self.values[column])}")
        return self.values[column].index(value)
