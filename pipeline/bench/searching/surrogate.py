"""Accuracy of the subnets of OFA's MobileNetV3 as a formula, fitted to published evaluations.

`ofa_mbv3_surrogate.json` describes itself: its `what` and `use` tell where it comes from and how it is computed.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from pipeline.predictor.encoding import Encoding, Rows
from pipeline.search.front import hypervolume
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.subnet import Subnet

NETWORK = "mobilenet_v3"
LIMITS = {150: 73.48, 200: 75.54, 230: 76.26, 300: 77.19}  # the reference's best top-1, per cent, by million MACs
_FILE = Path(__file__).with_name("ofa_mbv3_surrogate.json")
_MOST_EXPANDS, _MOST_KERNELS, _FACTOR = 24, 28, 3  # of a stage, and of the features that are no choices
_CORNER = (570e6, 70.5)  # MACs and top-1, that the hypervolume is counted from
_UNIT = 450e6 * 7.5
_REFERENCE = 0.8115  # units; of 30,000 evaluations of NSGA-II


class Surrogate:
    """The formula, for the rows of an encoding of OFA's MobileNetV3."""

    def __init__(self) -> None:
        content = json.loads(_FILE.read_text(encoding="utf-8"))
        self.encoding = Encoding(NETWORKS[NETWORK])
        self._intercept: float = content["intercept"]
        self._coefficients: dict[str, float] = content["coefficients"]

    def __call__(self, rows: Rows) -> np.ndarray:
        """Top-1, per cent: float64 [N]."""
        return np.array([self.of(self.encoding.decode(row)) for row in rows], np.float64)

    def of(self, subnet: Subnet) -> float:
        """Top-1 of one subnet, per cent."""
        features: dict[str, float] = {}
        sums: dict[str, float] = {}
        deepest = max(self.encoding.space.stages[0].depths)
        for index, stage in enumerate(subnet.stages):
            for position, block in enumerate(stage.blocks):
                features[f"kernel{block.kernel}@block{deepest * index + position}"] = 1
                features[f"expand{block.expand}@block{deepest * index + position}"] = 1
            sums[f"E{index + 1}"] = sum(block.expand for block in stage.blocks) / _MOST_EXPANDS
            sums[f"K{index + 1}"] = sum(block.kernel for block in stage.blocks) / _MOST_KERNELS
        for name in self._coefficients:
            if "@" not in name:
                features[name] = _FACTOR * math.prod(sums[each] for each in name.split("*"))
        return self._intercept + sum(self._coefficients[name] * value for name, value in features.items())


def noise(rows: Rows, deviation: float, seed: int) -> np.ndarray:
    """What measurements are off by, points; the same for a subnet whenever it is measured: float64 [N]."""
    draws = [np.random.default_rng([seed, *row.tolist()]).standard_normal() for row in rows]
    return deviation * np.array(draws, np.float64)


def share_of_reference(macs: np.ndarray, accuracies: np.ndarray) -> float:
    """The hypervolume as a share of the reference's."""
    return hypervolume(macs, accuracies, *_CORNER) / _UNIT / _REFERENCE
