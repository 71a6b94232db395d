"""Rounds of a table that is being built, kept beside it as they come: one that was killed goes on with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.files.kept_lines import KeptLines


class _Round(BaseModel):
    """A line.

    Attributes:
        table: what tells the table from others.
        group: of what is timed together, counted from 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    table: str
    group: int = Field(ge=0)
    seconds: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]]


class KeptRounds:
    """The rounds of the table that is to be at `table`; a context, which keeps them to this process.

    Args:
        identity: JSON values that tell what is timed from anything else; rounds of others do not count.

    Raises:
        UsageError: where another process builds this table. OSError: where the file cannot be had.
    """

    def __init__(self, table: Path, identity: Mapping[str, Any]) -> None:
        self.path = table.with_name(f"{table.name}.rounds")
        self._identity = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        self._lines = KeptLines(self.path, _ROUND, "this table is being built already; let that end")

    def __enter__(self) -> KeptRounds:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lines.__exit__(*exception)

    def of(self, group: int, count: int) -> list[list[float]]:
        """The rounds of a group of that many things, as they were when the file was opened."""
        mine = (each for each in self._lines.found if (each.table, each.group) == (self._identity, group))
        return [each.seconds for each in mine if len(each.seconds) == count]

    def add(self, group: int, seconds: list[float]) -> None:
        """Keep a round.

        Raises:
            OSError: naming the file, which cannot be written.
        """
        self._lines.add({"table": self._identity, "group": group, "seconds": seconds})

    def drop(self) -> None:
        """The table is there: its rounds are no longer needed."""
        self.path.unlink(missing_ok=True)


_ROUND = TypeAdapter(_Round)
