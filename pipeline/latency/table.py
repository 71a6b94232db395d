"""A latency table: the time of every piece of a space's subnets on one machine and runtime, and how sums of them are
corrected. A JSON file, which tells how well it predicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from data_shards.one_line import shown
from pipeline.errors import UsageError
from pipeline.files.json_file import checked, read_json, write_json
from pipeline.files.whole_file import DamagedError
from pipeline.latency.correction import Correction, Errors, Features
from pipeline.latency.pieces import key, split
from pipeline.latency.runtime import RUNTIMES
from pipeline.predictor.encoding import Encoding
from pipeline.predictor.part_sums import covering
from pipeline.supernet.layer import BlockShape, Layer
from pipeline.supernet.shapes import parts
from pipeline.supernet.space import Space
from pipeline.supernet.space_json import space_from_dict
from pipeline.supernet.subnet import Subnet

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Latencies(Protocol):
    """What can tell the latency of subnets, by their parts."""

    @property
    def source(self) -> str:
        """Machine and runtime, or where else it is from, in words."""
        ...

    @property
    def constant(self) -> float:
        """What every subnet takes besides its parts, seconds."""
        ...

    def of(self, found: Sequence[Layer | BlockShape], resolution: int) -> float:
        """What a stem, one block or a head adds, seconds.

        Raises:
            UsageError: where that is not known.
        """
        ...


def latency(latencies: Latencies, space: Space, subnet: Subnet) -> float:
    """Predicted latency of a subnet, seconds.

    Raises:
        UsageError: where a part of it is not known.
    """
    stem, stages, head = parts(space, subnet)
    found = [stem, *([block] for block in stages), head]
    return latencies.constant + sum(latencies.of(each, subnet.resolution) for each in found)


def check_covers(latencies: Latencies, encoding: Encoding) -> None:
    """Raises UsageError where `latencies` lack a part of a subnet of the encoding's space."""
    for subnet in covering(encoding):
        latency(latencies, encoding.space, subnet)


class Entry(BaseModel):
    """A piece that was timed. `uncertainty` is half of the 95 % confidence interval of `seconds`; see `Features`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: Positive
    uncertainty: float = Field(ge=0, allow_inf_nan=False)
    elements: int = Field(gt=0)
    parameters: int = Field(ge=0)

    @property
    def features(self) -> Features:
        return Features(self.seconds, self.elements, self.parameters)


class Whole(BaseModel):
    """A subnet that was timed as a whole; those that are held out, nothing was fitted to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    subnet: str
    seconds: Positive
    uncertainty: float = Field(ge=0, allow_inf_nan=False)
    predicted_seconds: float = Field(allow_inf_nan=False)
    held_out: bool


class Conditions(BaseModel):
    """Under which it was timed.

    Attributes:
        clock: what seconds are of.
        rounds, noise: how many rounds there were at least, and the greatest noise that was left; see `Timed`.
        governor: Linux's, of the clock rate; None where it tells none, as in virtual machines.
        megahertz: clock rates of the processors, least and greatest, at the end; None where they are not told.
        load_average: over the last minute, when it began and at the end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    clock: str
    rounds: int = Field(gt=0)
    noise: float = Field(ge=0, allow_inf_nan=False)
    governor: str | None
    megahertz: tuple[float, float] | None
    load_average: tuple[float, float]


class Table(BaseModel):
    """What a table's file holds.

    Attributes:
        space: whose subnets it is of, as in `supernet.json`, with the resolutions that were timed.
        batch: images at a time.
        pieces: by resolution and by what they compute (`pipeline.latency.pieces.key`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    machine: str
    cpu_cores: int = Field(gt=0)
    runtime: str
    runtime_version: str
    threads: int = Field(gt=0)
    batch: int = Field(gt=0)
    date: str
    conditions: Conditions
    space: dict[str, Any]
    correction: Correction
    held_out: Errors
    subnets: tuple[Whole, ...]
    pieces: dict[str, dict[str, Entry]]

    @property
    def where(self) -> str:
        """Machine and runtime, in words."""
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.runtime} {self.runtime_version}, {threads}, batch {self.batch}, on {self.machine}"

    def write(self, path: Path) -> None:
        """Raises OSError where it cannot be written."""
        write_json(path, self.model_dump(mode="json"))


@dataclass(frozen=True)
class TableLatencies:
    """The latencies of a table; see `Latencies`."""

    path: Path
    space: Space
    correction: Correction
    pieces: Mapping[str, Mapping[str, Entry]]
    source: str

    @property
    def constant(self) -> float:
        return self.correction.constant

    def of(self, found: Sequence[Layer | BlockShape], resolution: int) -> float:
        """See `Latencies`."""
        if str(resolution) not in self.pieces:
            raise UsageError(f"{self.path}: has no resolution {resolution}; it has {', '.join(self.pieces)}")
        entries = self.pieces[str(resolution)]
        total = 0.0
        for piece in split(found):
            if (name := key(piece)) not in entries:
                raise UsageError(
                    f"{self.path}: is of another space: it has no '{name}'; deps latency build makes one of this space"
                )
            total += self.correction.of(entries[name].features)
        return total


def latencies_of(table: Table, path: Path) -> TableLatencies:
    """What `table`, of the file at `path`, tells.

    Raises:
        DamagedError: where its space is none.
    """
    return TableLatencies(path, space_from_dict(table.space), table.correction, table.pieces, table.where)


def read_table(path: Path) -> Table:
    """The table in a file.

    Raises:
        UsageError: where it cannot be read, is damaged or no table, or is of a runtime that is not known.
    """
    try:
        table = checked(read_json(path), TypeAdapter(Table))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; deps latency build makes one") from None
    except DamagedError as damage:
        raise UsageError(f"{path}: is damaged, or no latency table: {damage}") from None
    if table.runtime not in RUNTIMES:
        raise UsageError(f"{path}: is of the runtime {shown(table.runtime)}; known: {', '.join(RUNTIMES)}")
    return table
