"""A split whose manifest and index are in the folder, and whose shards come from a web server or out of a command."""

from __future__ import annotations

import shlex
import time
import urllib.parse
from contextlib import closing
from pathlib import Path

from data_shards.store.index import Split, find_split
from data_shards.store.manifest import SplitEntry
from data_shards.streaming.failure import StreamFailure
from data_shards.streaming.webdataset import stream_shard

# Seconds before each attempt to read a sample: a server may be busy, or a connection break off. Where all attempts at a
# sample were in vain, the samples after it get one attempt each, until one of them can be read.
_WAITS = (0.0, 1.0, 4.0, 15.0)


class RemoteSplit(Split):
    """A split that reads each sample through a stream of its own: that is possible with all sources, and slow.

    Args:
        stream_from: as in the recipe's `data`.
    """

    is_remote = True

    def __init__(self, root: Path, name: str, entry: SplitEntry, classes: tuple[str, ...], stream_from: str):
        super().__init__(root, name, entry, classes)
        self.stream_from = stream_from
        self._waits = True

    def __reduce__(self):
        return RemoteSplit, (self.root, self.name, self.entry, self.classes, self.stream_from)

    def place(self, shard: int) -> str:
        """A URL, or `pipe:` and a command.

        The names that a manifest may have need no quotation marks in a command. So `{}` may stand in quotation marks or
        not, and quoting the name, for safety, changes nothing.
        """
        name = f"{self.name}/{self.entry.shards[shard].name}"
        if self.stream_from.startswith("pipe:"):
            return self.stream_from.replace("{}", shlex.quote(name))
        return self.stream_from + urllib.parse.quote(name)

    def read(self, sample: int) -> bytes:
        """The image's bytes.

        Raises:
            ShardDamage: they are missing, cut, unreadable or altered.
        """
        reason = ""
        for wait in _WAITS if self._waits else _WAITS[:1]:
            time.sleep(wait)
            try:
                image = self._read(sample)
                self._waits = True
                return image
            except StreamFailure as failure:
                reason = str(failure)
                if failure.final:
                    break
        else:
            self._waits = False
        raise self.damage(sample, reason)

    def _read(self, sample: int) -> bytes:
        wanted = self.key(sample)
        with closing(stream_shard(self, int(self.index["shard"][sample]), sample)) as stream:
            key, image = next(each for each in stream if each[0] >= wanted)  # the stream ends in a StreamFailure
        if key != wanted:
            raise self.damage(sample, f"is not in the shard, where sample {key} comes in its place")
        if not self.is_packed(sample, image):
            raise self.damage(sample, "the image's bytes are not those that were packed (CRC-32 or length differs)")
        return image


def open_remote(root: Path, split: str, stream_from: str) -> RemoteSplit:
    """Open one split for reading, as `open_split` does; but shards are not looked at before they are read.

    Raises:
        ShardUsageError: for a missing data set or split.
        ShardDamage: for a manifest or an index that is not the packed one.
    """
    entry, classes = find_split(root, split)
    opened = RemoteSplit(root, split, entry, classes, stream_from)
    _ = opened.index  # read now, so that damage is told now
    return opened
