"""Some of a split's samples as a split of their own."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from data_shards.errors import ShardDamage
from data_shards.store.index import Split


class PartOfSplit(Split):
    """Some samples of a split, which are numbered anew: ids are 0 … len - 1, in stored order.

    Whoever reads it meets none of the others: neither in its order nor in place of damaged samples. Keys, places and
    damage are those of the whole split.

    Args:
        whole: the split.
        ids: of the samples in it, ascending: int64 [samples of the part].
    """

    def __init__(self, whole: Split, ids: np.ndarray):
        super().__init__(whole.root, whole.name, whole.entry, whole.classes)
        self.whole, self.ids = whole, ids
        self.is_remote = whole.is_remote

    def __reduce__(self):
        return PartOfSplit, (self.whole, self.ids)

    def __len__(self) -> int:
        return len(self.ids)

    def place(self, shard: int) -> Path | str:
        return self.whole.place(shard)

    @cached_property
    def index(self) -> np.ndarray:
        rows = self.whole.index[self.ids]
        rows.setflags(write=False)
        return rows

    def key(self, sample: int) -> str:
        return self.whole.key(int(self.ids[sample]))

    def read(self, sample: int) -> bytes:
        return self.whole.read(int(self.ids[sample]))

    def damage(self, sample: int, reason: str) -> ShardDamage:
        return self.whole.damage(int(self.ids[sample]), reason)
