"""A source of image files on disk: what `imagenet` and `folder` have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np

from data_shards.errors import ShardUsageError
from data_shards.sources import Sample, Undecodable
from data_shards.sources.image_file import Preparation
from data_shards.sources.listing import Listing


class ImageFiles:
    """Image files by split, each read and decoded when it is packed.

    Args:
        name: of the kind of data set.
        classes: class names by label.
        listings: the files of each split, which are put into mixed order here.
        preparation: what becomes of a file.
        seed: of the order.

    Raises:
        ShardUsageError: a class has no image in a split, or an image occurs twice.
    """

    def __init__(
        self,
        name: str,
        classes: tuple[str, ...],
        listings: Mapping[str, Listing],
        preparation: Preparation,
        seed: int,
    ):
        self.name, self.classes, self.preparation, self._listings = name, classes, preparation, listings
        for split, listing in listings.items():
            listing.mix(seed)
            empty = np.flatnonzero(np.bincount(listing.labels, minlength=len(classes)) == 0)
            if len(empty):
                others = f" (and {len(empty) - 1} more classes)" if len(empty) > 1 else ""
                raise ShardUsageError(f"{listing.root}: no {split} image of class {classes[empty[0]]!r}{others}")
        digests = {f"{split}-files": listing.digest() for split, listing in listings.items()}
        self.options: dict[str, int | str] = {**digests, "seed": seed, **preparation.options}

    @property
    def splits(self) -> dict[str, int]:
        return {split: len(listing) for split, listing in self._listings.items()}

    @property
    def folders(self) -> list[Path]:
        return [listing.root for listing in self._listings.values()]

    def samples(self, split: str, positions: np.ndarray) -> Iterator[Sample | Undecodable]:
        cv2.setNumThreads(0)  # several shards are packed at a time: threads within an image would be in their way
        listing = self._listings[split]
        labels = listing.labels
        for position in positions.tolist():
            file = listing.read(position)
            try:
                yield self.preparation.sample(file, int(labels[position]))
            except ValueError as error:
                yield Undecodable(listing.name(position), str(error))

    def identity(self, split: str, positions: np.ndarray) -> bytes:
        return f"{self.classes} {self.preparation} ".encode() + self._listings[split].identity(positions)
