"""What a search weighs accuracy against, and keeps within limits: measures of a subnet that need no images."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from data_shards.one_line import shown
from pipeline.errors import UsageError
from pipeline.latency.table import Latencies, check_covers
from pipeline.predictor.encoding import Encoding, Rows
from pipeline.predictor.part_sums import PartSums
from pipeline.search.sizes import Sizes


class Measure(NamedTuple):
    """A measure of subnets.

    Attributes:
        words: what people call it, with its unit.
        as_little: of it, as people say it.
        key: that it has in files.
        units: by what limits write behind a number, how much each is.
        digits: behind the point.
    """

    words: str
    as_little: str
    key: str
    units: Mapping[str, float]
    digits: int = 0

    def written(self, value: float) -> float:
        """As files have it: a whole number where it is one of things."""
        return round(value, self.digits + 3) if self.digits else int(value)

    def told(self, value: float) -> str:
        return f"{value:.{self.digits}f}"

    def with_unit(self, value: float) -> str:
        unit = next(unit for unit, factor in self.units.items() if factor == 1)
        return f"{value:.15g} {unit}".rstrip()


_COUNTS = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
LATENCY = "latency"
# By the names that commands know; a place for further ones. A latency needs a table.
MEASURES = {
    "macs": Measure("MACs", "as few MACs", "macs", _COUNTS),
    "params": Measure("parameters", "as few parameters", "params", _COUNTS),
    LATENCY: Measure(
        "latency, ms", "as low a latency in ms", "latency_ms", {"us": 1e-3, "ms": 1.0, "s": 1e3}, digits=3
    ),
}
_LIMIT = re.compile(r"([a-z]+)=([0-9]{1,15}(?:\.[0-9]{1,9})?)([a-zA-Z]{0,2})")


class Objectives:
    """The measures of the subnets of an encoding's space.

    Args:
        latencies: of its subnets' parts, where latency is one of them.

    Raises:
        UsageError: where they lack a part.
    """

    def __init__(self, encoding: Encoding, latencies: Latencies | None = None) -> None:
        self.encoding = encoding
        self._sizes = Sizes(encoding)
        self.latencies = latencies
        if latencies is not None:
            check_covers(latencies, encoding)
            self._seconds = PartSums(encoding, lambda found, side: [latencies.of(found, side)], 1)
        self._ends: dict[str, tuple[float, float]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The measures that there are."""
        return tuple(name for name in MEASURES if name != LATENCY or self.latencies is not None)

    def __call__(self, name: str, rows: Rows) -> np.ndarray:
        """The measure `name` of MEASURES: float64 [N]."""
        if name != LATENCY:
            return self._sizes(rows)[:, list(MEASURES).index(name)].astype(np.float64)
        assert self.latencies is not None
        return (self.latencies.constant + self._seconds(rows)[:, 0]) * 1000

    def excesses(self, limits: Mapping[str, float], rows: Rows) -> np.ndarray:
        """By how much of each limit it is exceeded, as a share; up to 0 where it is kept: float64 [N, limits]."""
        found = [self(name, rows) / limit - 1 for name, limit in limits.items()]
        return np.stack(found, axis=1) if found else np.zeros((len(rows), 0))

    def within(self, limits: Mapping[str, float], rows: Rows) -> Rows:
        """Those of `rows` that keep the limits."""
        return rows[(self.excesses(limits, rows) <= 0).all(axis=1)]

    def ends(self, name: str) -> tuple[float, float]:
        """The least and the greatest value of a measure.

        Of sizes, they are those of the smallest and the largest subnet. Of latency, which need not grow with size, they
        are what changing one choice after the other leads to from there.
        """
        if name not in self._ends:
            space = self.encoding.space
            smallest, largest = self.encoding.encode([space.smallest(), space.largest()])
            self._ends[name] = (-self._climbed(name, smallest, -1), self._climbed(name, largest, 1))
        return self._ends[name]

    def check(self, limits: Mapping[str, float]) -> None:
        """Raises UsageError, with the least and greatest possible values, where a limit cannot be kept."""
        for name, limit in limits.items():
            measure, (least, greatest) = MEASURES[name], self.ends(name)
            if limit < least:
                raise UsageError(
                    f"--limit {name}={measure.told(limit)}: no subnet has {measure.as_little}; least "
                    f"{measure.told(least)}, greatest {measure.told(greatest)}"
                )

    def _climbed(self, name: str, row: np.ndarray, sign: int) -> float:
        """The highest `sign` times measure that changes of one choice at a time lead to from `row`."""
        highest = -np.inf
        while True:
            neighbours = np.repeat(row[None], self.encoding.counts.sum(), axis=0)
            columns = np.repeat(np.arange(len(row)), self.encoding.counts)
            neighbours[np.arange(len(columns)), columns] = np.concatenate(
                [np.arange(count) for count in self.encoding.counts]
            )
            values = sign * self(name, self.encoding.canonical(neighbours))
            if values.max() <= highest:
                return float(highest)
            highest, row = values.max(), self.encoding.canonical(neighbours)[values.argmax()]


def parse_limits(texts: Sequence[str]) -> dict[str, float]:
    """Greatest values by measure, of texts like `macs=300M`; of several for one measure, the lowest counts.

    Raises:
        UsageError: naming the legal measures.
    """
    limits: dict[str, float] = {}
    for text in texts:
        match = _LIMIT.fullmatch(text)
        if match is None or match[1] not in MEASURES or not float(match[2]) or match[3] not in MEASURES[match[1]].units:
            raise UsageError(
                f"--limit {shown(text)}: is no limit; one looks like macs=300M (k, M, G) or latency=5ms (us, ms, s); "
                f"measures: {', '.join(MEASURES)}"
            )
        limit = float(match[2]) * MEASURES[match[1]].units[match[3]]
        limits[match[1]] = min(limit, limits.get(match[1], limit))
    return limits


def check_measure(name: str, option: str) -> None:
    """Raises UsageError where `name` is no measure."""
    if name not in MEASURES:
        raise UsageError(f"{option} {shown(name)}: is no measure; legal: {', '.join(MEASURES)}")


def check_table(against: str, limits: Mapping[str, float], has_table: bool) -> None:
    """Raises UsageError where latency is asked for without a table."""
    if LATENCY in (against, *limits) and not has_table:
        raise UsageError("latency is predicted by a table: add --latency TABLE; deps latency build makes one")
