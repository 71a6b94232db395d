"""Where images come from. A source hands out encoded samples by position, so that shards can be packed in parallel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np


class Sample(NamedTuple):
    """An encoded image (JPEG or PNG bytes), its class label, its size in pixels.

    `change`: what was done to the source's file ("resized", "CMYK JPEG re-encoded"); None where its bytes were kept.
    """

    encoded: bytes
    label: int
    height: int
    width: int
    change: str | None = None


class Undecodable(NamedTuple):
    """An image that cannot be decoded: its name in the source, and the reason."""

    name: str
    reason: str


class Source(Protocol):
    """A data set to pack.

    `name`: what `deps shards pack` calls it. `classes`: class names by label. `options`: all that decides its content.
    `splits`: number of samples per split, by name (`train` and `test`). `folders`: those whose whole content it is, so
    that nothing else may be put there. Positions are in an order that is well mixed over the classes, so that shards
    may be read in sequence.
    """

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def options(self) -> Mapping[str, int | str]: ...
    @property
    def splits(self) -> Mapping[str, int]: ...
    @property
    def folders(self) -> Sequence[Path]: ...

    def samples(self, split: str, positions: np.ndarray) -> Iterator[Sample | Undecodable]:
        """The samples at `positions` (int64 [B], from 0 to `splits[split] - 1`), in this order.

        The same whatever positions are asked for together, and from several threads. Raises ShardDamage for a file
        that cannot be read, as opposed to decoded.
        """
        ...

    def identity(self, split: str, positions: np.ndarray) -> bytes:
        """Bytes that differ where the samples at `positions` do: whether a shard packed earlier is still the one."""
        ...
