"""Decoded images, kept as uint8 for all the subnets that are still to be measured on them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator

from data_shards.loading.loader import Batch

logger = logging.getLogger(__name__)

_MIB = 1 << 20


class DecodedImages:
    """Batches by what they are of, kept while there is room for them; else they are read whenever they are asked for.

    Args:
        room: bytes for all of them together; None without a bound.
        tells: whether this process says where there is no room, once.
    """

    def __init__(self, room: int | None, tells: bool) -> None:
        self._room, self._tells = room, tells
        self._kept: dict[tuple[str, int], list[Batch]] = {}

    def batches(
        self, images: str, number: int, side: int, read: Callable[[], Iterable[Batch]]
    ) -> Iterator[Batch] | list[Batch]:
        """The batches of `number` images of this side, pixels, which `read` gives where they are not kept."""
        if (images, side) in self._kept:
            return self._kept[images, side]
        needed = number * 3 * side**2
        if self._room is not None and needed > self._room:
            if self._tells:
                logger.warning(
                    "%d %s images of %d px need %s MiB of memory, where %s can be had beside the evaluation: they are "
                    "read again for every few subnets",
                    number, images, side, f"{needed / _MIB:,.1f}", f"{self._room / _MIB:,.1f}",
                )  # fmt: skip
                self._tells = False
            return iter(read())
        return self._keeping((images, side), needed, read)

    def _keeping(self, key: tuple[str, int], needed: int, read: Callable[[], Iterable[Batch]]) -> Iterator[Batch]:
        kept = []
        for batch in read():
            # Out of the shared memory that a reader hands them over in, which is little.
            kept.append(Batch(*(part.clone() if part.is_shared() else part for part in batch)))
            yield kept[-1]
        self._kept[key] = kept
        if self._room is not None:
            self._room -= needed
