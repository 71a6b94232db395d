"""`search/evaluations.jsonl` of a run: every measured subnet, kept as it comes, for this search and all later ones.

A line is an evaluation, sealed (`files.sealed_line`), and tells which search measured it: one that goes on after a kill
begins with what was known when it began the first time, and so goes the way that it would have gone.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from data_shards.store.regular_file import open_regular
from pipeline.errors import UsageError
from pipeline.files.file_lock import try_lock
from pipeline.files.json_file import checked
from pipeline.files.sealed_line import sealed, unsealed
from pipeline.files.whole_file import DamagedError, failures_named
from pipeline.run.layout import EVALUATIONS

logger = logging.getLogger(__name__)

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
        self._path = folder / EVALUATIONS
        self._weights, self._search = weights, search
        with failures_named(self._path):
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = open_regular(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self._file = open(descriptor, "ab+", buffering=0)  # noqa: SIM115 (closed on leaving the context)
        try:
            self._lock()
            self._all = self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Evaluations:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

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
        with failures_named(self._path):
            content = (sealed(new.model_dump()) + "\n").encode()
            while content:  # the last of a disk's space takes a part of a line
                content = content[self._file.write(content) :]
        self._all.append(new)

    def _lock(self) -> None:
        try:
            free = try_lock(self._file)
        except OSError as error:
            logger.warning("%s: its file system cannot lock files (%s)", self._path, error.strerror)
            return
        if not free:
            raise UsageError(f"{self._path}: another search of this run is going on; let it end")

    def _read(self) -> list[Evaluation]:
        with failures_named(self._path):
            self._file.seek(0)
            content = self._file.read()
            whole = content.rfind(b"\n") + 1
            self._file.truncate(whole)  # without what a kill left of a line
        found = []
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                each = checked(unsealed(line.decode()), _EVALUATION)
            except (DamagedError, UnicodeDecodeError) as damage:
                reason = damage if isinstance(damage, DamagedError) else "not UTF-8 text"
                logger.warning("%s, line %d: is damaged: %s; it does not count", self._path, number, reason)
                continue
            if each.weights == self._weights:
                found.append(each)
        return found


_EVALUATION = TypeAdapter(Evaluation)
