"""Sources of images. A source gives encoded samples by position, so that shards can be packed in parallel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np


class Sample(NamedTuple):
    """An image to pack.

    Attributes:
        encoded: its bytes, as JPEG or PNG.
        label: its class.
        height, width: in pixels.
        change: what was done to the source's file ("resized", "CMYK JPEG re-encoded"); None where its bytes were kept.
    """

    encoded: bytes
    label: int
    height: int
    width: int
    change: str | None = None


class Undecodable(NamedTuple):
    """An image that cannot be decoded.

    Attributes:
        name: in the source.
        reason: why, in words.
    """

    name: str
    reason: str


class Source(Protocol):
    """A data set to pack.

    Positions count samples in an order that is well mixed over the classes, so that shards can be read in sequence.

    Attributes:
        name: what `deps shards pack` calls it.
        classes: class names by label.
        options: all that decides its content.
        splits: number of samples by name of the split (`train` and `test`).
        folders: folders that belong to the source, so that nothing may be packed into them.
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
        """The samples at some positions, in this order. Several threads may ask at a time.

        A sample does not depend on what other positions are asked for.

        Args:
            positions: int64 [B], each from 0 to `splits[split] - 1`.

        Raises:
            ShardDamage: a file cannot be read. (A file that can be read, but not decoded, is an `Undecodable`.)
        """
        ...

    def identity(self, split: str, positions: np.ndarray) -> bytes:
        """Bytes that change when a sample at these positions does: they tell whether a packed shard is still right."""
        ...
