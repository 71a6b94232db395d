"""MACs and parameters of very many subnets: those of `complexity`, summed over tables of parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.predictor.encoding import Encoding, Rows
from pipeline.predictor.part_sums import PartSums
from pipeline.supernet.complexity import Complexity, part_complexity
from pipeline.supernet.layer import BlockShape, Layer


class Sizes:
    """Sizes of the subnets of an encoding's space, at their resolutions."""

    def __init__(self, encoding: Encoding) -> None:
        self._sums = PartSums(encoding, _sizes, 2)

    def __call__(self, rows: Rows) -> np.ndarray:
        """MACs and parameters: int64 [N, 2]."""
        return self._sums(rows).astype(np.int64)  # exact: they are far below 2^53


def _sizes(found: Sequence[Layer | BlockShape], resolution: int) -> tuple[int, int]:
    size = sum(map(part_complexity, found), Complexity(0, 0))
    return size.macs, size.parameters
