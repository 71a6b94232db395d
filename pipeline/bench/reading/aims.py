"""What the data part is to reach, and whether it did in this run. Printed, never asserted: speed has no tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pipeline.bench.reading import readers
from pipeline.bench.reading.start import SAMPLES

# Greatest CPU time of the Python reader as a multiple of decoding alone, by the data set's largest side in pixels.
_PYTHON_TO_DECODE = {256: 2.5, 512: 2.2}
_MIB = 2**20


class Aim(NamedTuple):
    """What a figure is to reach.

    Attributes:
        aim: what is measured, in words.
        at_most: whether `limit` bounds it from above; else from below.
        measured: None where the run has no figure for it.
    """

    aim: str
    limit: float
    at_most: bool
    measured: float | None

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit

    def row(self) -> dict[str, Any]:
        return {**self._asdict(), "met": self.met}

    def line(self) -> str:
        """For people."""
        word = {True: "met", False: "MISSED", None: "not measured"}[self.met]
        found = "" if self.measured is None else f": {self.measured:.3g}"
        return f"{self.aim}, {'at most' if self.at_most else 'at least'} {self.limit:g}{found} ({word})"


def aims(
    data_sets: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    starts: Sequence[Mapping[str, Any]],
    training: Mapping[str, Any],
) -> list[Aim]:
    """The aims with what was measured for them; of several starts the worst."""
    found: list[Aim] = []
    for data in data_sets:
        name, by_name = data["data_set"], {row["contender"]: row for row in rows if row["data_set"] == data["data_set"]}

        def ratio(key: str, one: str, other: str, by_name: Mapping[str, Any] = by_name) -> float | None:
            values = [by_name[each].get(key) for each in (one, other)]
            return None if None in values else values[0] / values[1]

        cpu = ratio("cpu_us_per_image", readers.PYTHON_IN_PROCESS, readers.DECODE)
        to_webdataset = ratio("images_per_second", readers.PYTHON, readers.WEBDATASET)
        to_dali = ratio("images_per_second", readers.DALI, readers.DALI_SEQUENTIAL)
        limit = _PYTHON_TO_DECODE[data["sides_px"][1]]
        found += [
            Aim(f"{name}: CPU time of the Python reader over decoding alone", limit, True, cpu),
            Aim(f"{name}: images/s of the Python reader over webdataset's", 2.0, False, to_webdataset),
            Aim(f"{name}: images/s of the dali reader over DALI's own", 0.9, False, to_dali),
        ]
    whole = [start for start in starts if start["samples"] == SAMPLES]
    seconds = max((start["first_ids_seconds"] for start in whole), default=None)
    added = max((start["added_bytes"] for start in whole if start["added_bytes"] is not None), default=None)
    return [
        *found,
        Aim("share of the training time waiting for data", 0.05, True, training.get("wait_fraction")),
        Aim("seconds until the first ids at 1.28M samples", 2.0, True, seconds),
        Aim("MiB that starting adds per process", 300.0, True, None if added is None else added / _MIB),
    ]
