"""Where images come from. A source hands out encoded samples by position, so that shards can be packed in parallel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol


class Sample(NamedTuple):
    """An encoded image: JPEG bytes, class label, size in pixels."""

    jpeg: bytes
    label: int
    height: int
    width: int


class Source(Protocol):
    """A data set to pack.

    `name`: what `deps shards pack` calls it. `classes`: class names by label. `options`: all that decides its content.
    `splits`: number of samples per split, by name (`train` and `test`).
    """

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def options(self) -> Mapping[str, int | str]: ...
    @property
    def splits(self) -> Mapping[str, int]: ...

    def samples(self, split: str, start: int, stop: int) -> Iterator[Sample]:
        """Samples `start` … `stop - 1` of a split. The same whatever ranges are asked for, and from several threads."""
        ...
