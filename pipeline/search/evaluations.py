"""`search/evaluations.jsonl` of a run: every measured subnet, kept as it comes, for this search and all later ones.

A line is an evaluation, sealed (`files.sealed_line`), and tells which search measured it: one that goes on after a kill
begins with what was known when it began the first time, and so goes the way that it would have gone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipeline.files.kept_lines import KeptLines
from pipeline.run.layout import EVALUATIONS

Images = Literal["validation", "test"]


class Evaluation(BaseModel):
    """Top-1 of a subnet, per cent.

    Attributes:
        search: which one measured it.
        weights: SHA-256 of the supernet's; evaluations of others do not count.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    search: str
    weights: str
    images: Images
    subnet: str
    top1: float = Field(ge=0, le=100)


class Evaluations:
    """The file in `folder`, kept to this process while it is open.

    Args:
        weights, search: see `Evaluation`.

    Raises:
        UsageError: where another search of this run is going on. OSError: where the file cannot be had.
    """

    def __init__(self, folder: Path, weights: str, search: str) -> None:
        self._weights, self._search = weights, search
        self._lines = KeptLines(folder / EVALUATIONS, _EVALUATION, "another search of this run is going on; let it end")
        self._all = [each for each in self._lines.found if each.weights == weights]

    def __enter__(self) -> Evaluations:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lines.__exit__(*exception)

    def measured(self, images: Images) -> dict[str, float]:
        """Top-1 by subnet."""
        return {each.subnet: each.top1 for each in self._all if each.images == images}

    def before(self) -> dict[str, float]:
        """Top-1 on validation images of what was known when this search began, by subnet."""
        found: dict[str, float] = {}
        for each in self._all:
            if each.search == self._search:
                break
            if each.images == "validation":
                found[each.subnet] = each.top1
        return found

    def own(self) -> int:
        """How many subnets this search has measured on validation images."""
        return sum(each.search == self._search and each.images == "validation" for each in self._all)

    def add(self, images: Images, subnet: str, top1: float) -> None:
        """Keep an evaluation.

        Raises:
            OSError: naming the file, which cannot be written.
        """
        new = Evaluation(search=self._search, weights=self._weights, images=images, subnet=subnet, top1=top1)
        self._lines.add(new.model_dump())
        self._all.append(new)


_EVALUATION = TypeAdapter(Evaluation)
