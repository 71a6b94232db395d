"""What can go wrong with shards: mistakes that the caller can mend, and damage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class ShardUsageError(ValueError):
    """The caller's mistake, told in one line: a missing folder, an unknown data set, options that do not fit."""


class ShardDamage(RuntimeError):  # noqa: N818 (named for what it tells, as in "damage found")
    """Stored data is not what was packed.

    Attributes:
        shard: path of the damaged file.
        key: key of the sample concerned; None where the whole file is concerned.
        offset: position in `shard`, in bytes; None where the whole file is concerned.
        reason: what is wrong, in words.
    """

    def __init__(self, shard: str | Path, reason: str, key: str | None = None, offset: int | None = None):
        self.shard, self.reason, self.key, self.offset = str(shard), reason, key, offset
        place = self.shard
        if key is not None:
            place += f": sample {key}"
        if offset is not None:
            place += f" at byte {offset}"
        super().__init__(f"{place}: {reason}")

    def __reduce__(self):
        # Raised in worker processes. Exceptions are pickled by their `args` alone, and the attributes must not get
        # lost.
        return ShardDamage, (self.shard, self.reason, self.key, self.offset)


class ReaderLost(RuntimeError):  # noqa: N818 (named as ShardDamage is: for what it tells)
    """A reader process has ended early. Where memory is short, the system kills processes without a word."""


class UndecodableImages(ShardDamage):
    """Images of a source cannot be decoded, and therefore it was not packed.

    Attributes:
        images: a line for each: its name and the reason.
    """

    def __init__(self, source: str, images: Sequence[str], remedy: str):
        self.images = tuple(images)
        what = "1 image" if len(images) == 1 else f"{len(images):,} images"
        example = images[0] if len(images) == 1 else f"the first: {images[0]}"
        super().__init__(source, f"{what} cannot be decoded ({example}); nothing is published: {remedy}")
