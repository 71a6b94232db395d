"""What a search weighs accuracy against, and keeps within limits: measures of a subnet that need no images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from data_shards.one_line import shown
from pipeline.errors import UsageError
from pipeline.predictor.encoding import Encoding, Rows
from pipeline.search.sizes import Sizes

MEASURES = {"macs": "MACs", "params": "parameters"}  # by the names that commands know; a place for further ones
_LIMIT = re.compile(r"([a-z]+)=([0-9]{1,15}(?:\.[0-9]{1,9})?)([kMG]?)")
_FACTORS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}


class Objectives:
    """The measures of the subnets of an encoding's space."""

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self._sizes = Sizes(encoding)

    def __call__(self, name: str, rows: Rows) -> np.ndarray:
        """The measure `name` of MEASURES: float64 [N]."""
        return self._sizes(rows)[:, list(MEASURES).index(name)].astype(np.float64)

    def excesses(self, limits: Mapping[str, float], rows: Rows) -> np.ndarray:
        """By how much of each limit it is exceeded, as a share; up to 0 where it is kept: float64 [N, limits]."""
        found = [self(name, rows) / limit - 1 for name, limit in limits.items()]
        return np.stack(found, axis=1) if found else np.zeros((len(rows), 0))

    def within(self, limits: Mapping[str, float], rows: Rows) -> Rows:
        """Those of `rows` that keep the limits."""
        return rows[(self.excesses(limits, rows) <= 0).all(axis=1)]

    def ends(self, name: str) -> tuple[float, float]:
        """The least and the greatest value of a measure: those of the smallest and the largest subnet."""
        space = self.encoding.space
        least, greatest = self(name, self.encoding.encode([space.smallest(), space.largest()]))
        return float(least), float(greatest)

    def check(self, limits: Mapping[str, float]) -> None:
        """Raises UsageError, with the least and greatest possible values, where a limit cannot be kept."""
        for name, limit in limits.items():
            least, greatest = self.ends(name)
            if limit < least:
                raise UsageError(
                    f"--limit {name}={limit:.0f}: no subnet has as few {MEASURES[name]}; least {least:.0f}, "
                    f"greatest {greatest:.0f}"
                )


def parse_limits(texts: Sequence[str]) -> dict[str, float]:
    """Greatest values by measure, of texts like `macs=300M`; of several for one measure, the lowest counts.

    Raises:
        UsageError: naming the legal measures.
    """
    limits: dict[str, float] = {}
    for text in texts:
        match = _LIMIT.fullmatch(text)
        if match is None or match[1] not in MEASURES or not float(match[2]):
            raise UsageError(
                f"--limit {shown(text)}: is no limit; one looks like macs=300M (k, M, G); measures: "
                f"{', '.join(MEASURES)}"
            )
        limit = float(match[2]) * _FACTORS[match[3]]
        limits[match[1]] = min(limit, limits.get(match[1], limit))
    return limits


def check_measure(name: str, option: str) -> None:
    """Raises UsageError where `name` is no measure."""
    if name not in MEASURES:
        raise UsageError(f"{option} {shown(name)}: is no measure; legal: {', '.join(MEASURES)}")
