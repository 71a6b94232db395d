"""What a predictor knows of subnets: their choices one by one, sums over stages, and products of these sums."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.search.encoding import Encoding, Rows
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
            if count > 1 or self.encoding.dimensions[column].block is not None
            for place in range(count)
        ]
        return np.stack(columns, axis=1).astype(np.float64) if columns else np.zeros((len(rows), 0))

    def sums(self, rows: Rows) -> np.ndarray:
        """float64 [N, columns]: from 0 to 1."""
        space = self.encoding.space
        found, ends = (
            np.stack(list(self._sums(each)), axis=1)
            for each in (rows, self.encoding.encode([space.smallest(), space.largest()]))
        )
        least, most = ends.min(axis=0), ends.max(axis=0)
        varies = most > least
        return (found - least)[:, varies] / (most - least)[varies]

    def products(self, rows: Rows) -> np.ndarray:
        """float64 [N, columns]: from 0 to 1."""
        sums = self.sums(rows)
        first, second = np.triu_indices(sums.shape[1])
        return sums[:, first] * sums[:, second]

    def lengths(self) -> dict[str, int]:
        """How many columns each group has."""
        row = self.encoding.encode([self.encoding.space.smallest()])
        return {name: getattr(self, name)(row).shape[1] for name in ("choices", "sums", "products")}

    def _sums(self, rows: Rows) -> Iterator[np.ndarray]:
        encoding = self.encoding
        for column, each in enumerate(encoding.dimensions):
            if each.what in ("stem", "width", "depth", "head", "resolution"):
                yield encoding.chosen(rows, column).astype(np.float64)
        for index, stage in enumerate(encoding.space.stages):
            yield self._over_blocks(rows, index, stage, "kernel")
            yield self._over_blocks(rows, index, stage, "expand")

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
