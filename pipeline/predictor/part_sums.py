"""Measures of very many subnets that are sums over their parts: the stem, each block, the head.

What a part is follows from its own choices, the width of what is before it, and the resolution. So each part has a
table with an entry for each of their combinations, which is filled when a subnet first comes to it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.predictor.encoding import Encoding, Rows
from pipeline.supernet.layer import BlockShape, Layer
from pipeline.supernet.shapes import parts
from pipeline.supernet.subnet import Subnet

# Numbers that belong to a stem, one block or a head, of a subnet at that resolution.
Measure = Callable[[Sequence[Layer | BlockShape], int], Sequence[float]]


class PartSums:
    """Sums over the parts of the subnets of an encoding's space, at their resolutions.

    Args:
        count: of the numbers that `measure` gives.
    """

    def __init__(self, encoding: Encoding, measure: Measure, count: int) -> None:
        self._encoding, self._measure, self._count = encoding, measure, count
        self._columns = columns_of_parts(encoding)
        self._shapes = [tuple(encoding.counts[list(each.needed)]) for each in self._columns]
        self._tables = [np.full((int(np.prod(shape, dtype=int)), count), np.nan) for shape in self._shapes]

    def __call__(self, rows: Rows) -> np.ndarray:
        """The sums: float64 [N, count]."""
        places = [self._places(rows, part) for part in range(len(self._columns))]
        total = np.zeros((len(rows), self._count))
        for columns, table, place in zip(self._columns, self._tables, places, strict=True):
            active = np.ones(len(rows), bool) if columns.block is None else self._has(rows, columns.block)
            for index in np.flatnonzero(active & np.isnan(table[place, 0])):
                if np.isnan(table[place[index], 0]):  # no subnet before it had it either
                    self._fill(rows[index], [each[index] for each in places])
            total[active] += table[place[active]]
        return total

    def _places(self, rows: Rows, part: int) -> np.ndarray:
        needed = self._columns[part].needed
        if not needed:
            return np.zeros(len(rows), int)
        return np.asarray(np.ravel_multi_index(tuple(rows[:, list(needed)].T), self._shapes[part]))

    def _has(self, rows: Rows, block: tuple[int, int]) -> np.ndarray:
        depth, position = block
        return self._encoding.chosen(rows, depth) > position

    def _fill(self, row: np.ndarray, places: list[int]) -> None:
        """Enter all parts of a subnet."""
        subnet = self._encoding.decode(row)
        stem, stages, head = parts(self._encoding.space, subnet)
        blocks = iter(stages)
        for columns, table, place in zip(self._columns, self._tables, places, strict=True):
            if columns.block is not None and self._has(row[None], columns.block)[0]:
                table[place] = self._measure([next(blocks)], subnet.resolution)
        self._tables[0][places[0]] = self._measure(stem, subnet.resolution)
        self._tables[-1][places[-1]] = self._measure(head, subnet.resolution)


class PartColumns(NamedTuple):
    """A part, as rows of an encoding have it.

    Attributes:
        needed: columns that the part follows from.
        block: of a block, the column of its stage's depth, and its position in the stage.
    """

    needed: tuple[int, ...]
    block: tuple[int, int] | None


def columns_of_parts(encoding: Encoding) -> list[PartColumns]:
    """Of the stem, each block and the head."""

    def columns(*what: str) -> list[int]:
        return [column for column, each in enumerate(encoding.dimensions) if each.what in what]

    always = columns("resolution")
    before = columns("stem")  # columns that the channels which come in follow from
    found = [PartColumns((*before, *always), None)]
    for index, stage in enumerate(encoding.space.stages):
        depth, width = encoding.column("depth", index), encoding.column("width", index)
        assert depth is not None
        out = [width] if width is not None else [] if stage.widths else before
        for position in range(stage.depths[-1]):
            block = position if stage.per == "block" else None
            own = [encoding.column(what, index, block) for what in ("kernel", "expand")]
            own += [depth] if stage.ties else []
            needed = itertools.chain(own, out, before if position == 0 else [], always)
            chosen = tuple(dict.fromkeys(each for each in needed if each is not None))
            found.append(PartColumns(chosen, (depth, position)))
        before = out
    return [*found, PartColumns((*before, *columns("head"), *always), None)]


def covering(encoding: Encoding) -> Iterator[Subnet]:
    """Subnets that together have every part that subnets of the space have: each a large one but for one part."""
    largest = encoding.counts - 1
    for columns in columns_of_parts(encoding):
        for chosen in itertools.product(*(range(encoding.counts[column]) for column in columns.needed)):
            row = largest.copy()
            row[list(columns.needed)] = chosen
            if columns.block is None or encoding.chosen(row[None], columns.block[0])[0] > columns.block[1]:
                yield encoding.decode(encoding.canonical(row[None])[0])
