"""What a predictor knows of subnets: their choices one by one, sums over stages, and products of these sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.predictor.encoding import Encoding, Rows
from pipeline.supernet.part import StageSpace


@dataclass(frozen=True)
class Features:
    """Of the subnets of an encoding's space, in three groups of columns.

    `choices`: 1 for the value that an active choice has, 0 for its others. `sums`: for each stage its depth, its width
    and the sums of its blocks' kernel sizes and expand ratios, and the values of stem, head and resolution; each as a
    share of the way from the space's least to its greatest. `products`: of two sums, or of one with itself.
    """

    encoding: Encoding

    def choices(self, rows: Rows) -> np.ndarray:
        """float64 [N, columns]."""
        active = self.encoding.active(rows)
        columns = [
            (rows[:, column] == place) & active[:, column]
            for column, count in enumerate(self.encoding.counts)
            for place in range(count)
        ]
        return np.stack(columns, axis=1).astype(np.float64)

    def sums(self, rows: Rows) -> np.ndarray:
        """float64 [N, columns]: from 0 to 1."""
        found, ends = (np.stack([column for _, column in self._sums(each)], axis=1) for each in (rows, self._ends))
        least, most = ends.min(axis=0), ends.max(axis=0)
        varies = most > least
        return (found - least)[:, varies] / (most - least)[varies]

    def names(self) -> list[str]:
        """Of the sums, in their order."""
        return [name for name, column in self._sums(self._ends) if np.ptp(column)]

    def products(self, rows: Rows) -> np.ndarray:
        """float64 [N, columns]: from 0 to 1."""
        sums = self.sums(rows)
        first, second = np.triu_indices(sums.shape[1])
        return sums[:, first] * sums[:, second]

    @cached_property
    def _ends(self) -> Rows:
        space = self.encoding.space
        return self.encoding.encode([space.smallest(), space.largest()])

    def _sums(self, rows: Rows) -> Iterator[tuple[str, np.ndarray]]:
        encoding = self.encoding
        for column, each in enumerate(encoding.dimensions):
            if each.what in ("stem", "width", "depth", "head", "resolution"):
                yield encoding.name(column), encoding.chosen(rows, column).astype(np.float64)
        for index, stage in enumerate(encoding.space.stages):
            for what in ("kernel", "expand"):
                yield f"{what}s {index + 1}", self._over_blocks(rows, index, stage, what)

    def _over_blocks(self, rows: Rows, index: int, stage: StageSpace, what: str) -> np.ndarray:
        encoding = self.encoding
        column = encoding.column("depth", index)
        assert column is not None
        depths = encoding.chosen(rows, column)
        if what == "expand" and stage.ties:
            tied = dict(stage.ties)
            return np.array([depth * tied[depth] for depth in depths.tolist()], np.float64)
        if stage.per == "stage":
            column = encoding.column(what, index)
            assert column is not None
            return depths * encoding.chosen(rows, column).astype(np.float64)
        total = np.zeros(len(rows))
        for position in range(stage.depths[-1]):
            column = encoding.column(what, index, position)
            assert column is not None
            total += np.where(depths > position, encoding.chosen(rows, column), 0)
        return total
