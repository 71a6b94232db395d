"""MACs and parameters of very many subnets: those of `complexity`, summed over tables of parts.

What a part costs follows from its own choices, the width of what is before it, and the resolution. So each part has a
table with an entry for each of their combinations, which is filled when a subnet first comes to it.
"""

from __future__ import annotations

import itertools

import numpy as np

from pipeline.predictor.encoding import Encoding, Rows
from pipeline.supernet.complexity import Complexity, part_complexity
from pipeline.supernet.shapes import parts


class Sizes:
    """Sizes of the subnets of an encoding's space, at their resolutions."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._parts = _columns_of_parts(encoding)
        shapes = [tuple(encoding.counts[list(columns)]) for columns, _ in self._parts]
        self._tables = [np.full((int(np.prod(shape, dtype=int)), 2), -1, np.int64) for shape in shapes]
        self._shapes = shapes

    def __call__(self, rows: Rows) -> np.ndarray:
        """MACs and parameters: int64 [N, 2]."""
        places = [self._places(rows, part) for part in range(len(self._parts))]
        total = np.zeros((len(rows), 2), np.int64)
        for (_, there), table, place in zip(self._parts, self._tables, places, strict=True):
            active = np.ones(len(rows), bool) if there is None else self._depth(rows, there[0]) > there[1]
            for index in np.flatnonzero(active & (table[place, 0] < 0)):
                if table[place[index], 0] < 0:  # no subnet before it had it either
                    self._fill(rows[index], [each[index] for each in places])
            total[active] += table[place[active]]
        return total

    def _places(self, rows: Rows, part: int) -> np.ndarray:
        columns, _ = self._parts[part]
        if not columns:
            return np.zeros(len(rows), int)
        return np.asarray(np.ravel_multi_index(tuple(rows[:, list(columns)].T), self._shapes[part]))

    def _depth(self, rows: Rows, column: int) -> np.ndarray:
        return self._encoding.chosen(rows, column)

    def _fill(self, row: np.ndarray, places: list[int]) -> None:
        """Enter all parts of a subnet."""
        stem, stages, head = parts(self._encoding.space, self._encoding.decode(row))
        blocks = iter(stages)
        for (_, there), table, place in zip(self._parts[1:-1], self._tables[1:-1], places[1:-1], strict=True):
            assert there is not None
            if self._depth(row[None], there[0])[0] > there[1]:
                table[place] = _sum([next(blocks)])
        self._tables[0][places[0]] = _sum(stem)
        self._tables[-1][places[-1]] = _sum(head)


def _sum(found) -> tuple[int, int]:
    size = sum(map(part_complexity, found), Complexity(0, 0))
    return size.macs, size.parameters


_Part = tuple[tuple[int, ...], tuple[int, int] | None]


def _columns_of_parts(encoding: Encoding) -> list[_Part]:
    """Of the stem, each block and the head: the columns that its size follows from, and for a block that of its
    stage's depth with its position."""

    def columns(*what: str) -> list[int]:
        return [column for column, each in enumerate(encoding.dimensions) if each.what in what]

    always = columns("resolution")
    before = columns("stem")  # columns that the channels which come in follow from
    found: list[_Part] = [((*before, *always), None)]
    for index, stage in enumerate(encoding.space.stages):
        depth, width = encoding.column("depth", index), encoding.column("width", index)
        assert depth is not None
        out = [width] if width is not None else [] if stage.widths else before
        for position in range(stage.depths[-1]):
            block = position if stage.per == "block" else None
            own = [encoding.column(what, index, block) for what in ("kernel", "expand")]
            own += [depth] if stage.ties else []
            needed = itertools.chain(own, out, before if position == 0 else [], always)
            found.append((tuple(dict.fromkeys(each for each in needed if each is not None)), (depth, position)))
        before = out
    return [*found, ((*before, *columns("head"), *always), None)]
