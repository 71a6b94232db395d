"""Reads runs of samples through a stream of their shard; a run that follows the one before goes on with its stream."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TypeAlias

from data_shards.errors import ShardDamage
from data_shards.store.index import Split
from data_shards.streaming.failure import StreamFailure

# A stream yields keys and images, in order of the keys, until the shard ends or StreamFailure is raised.
Stream: TypeAlias = Generator[tuple[str, bytes], None, None]

# Opens a stream: of a split, a shard (its number), from a sample (its id) on; it may begin with an earlier sample.
OpenStream: TypeAlias = Callable[[Split, int, int], Stream]

_IN_VAIN = 2  # samples in a row that neither the stream nor a second reading gave, after which a shard is given up


class SequentialReader:
    """Reads a split's samples through streams. Only one thread may use it.

    A sample that the stream does not give as it was packed is read once more by itself, by `split`. This tells what is
    wrong with it, finds samples that only the stream could not read, and gets over a connection that broke off.

    Args:
        split: whose samples are read.
        open_stream: opens one shard. The stream may end early or give anything: each sample is looked for by its key,
            and compared with the index.
        stops: whether a shard from which nothing comes any more is given up until the next run, and not asked for
            sample by sample; for sources where each attempt takes time.
    """

    def __init__(self, split: Split, open_stream: OpenStream, stops: bool):
        self._split, self._open_stream, self._stops = split, open_stream, stops
        self._stream: Stream | None = None
        self._next = 0  # the sample that the stream should give next
        self._early: tuple[str, bytes] | None = None  # what the stream gave before its turn

    def read(self, first: int, end: int) -> Iterator[tuple[int, bytes | ShardDamage]]:
        """Read samples `first` up to, and without, `end`, all of one shard.

        Yields:
            Id of each sample, and its encoded image or what is wrong with it.
        """
        in_vain: list[ShardDamage] = []
        for sample in range(first, end):
            if self._stops and len(in_vain) == _IN_VAIN:
                yield sample, self._split.damage(sample, f"not tried, after those before it: {in_vain[-1].reason}")
                continue
            found = self._from_stream(sample)
            if found is None:
                try:
                    found = self._split.read(sample)
                except ShardDamage as damage:
                    found = damage
            if isinstance(found, ShardDamage) and self._stream is None:
                in_vain.append(found)
            else:
                in_vain.clear()
            yield sample, found

    def close(self) -> None:
        """Close the shard that is open."""
        if self._stream is not None:
            self._stream.close()
        self._stream = self._early = None

    def _from_stream(self, sample: int) -> bytes | None:
        """The sample's image as it was packed; None where the stream does not give it."""
        shards, key = self._split.index["shard"], self._split.key(sample)
        if self._stream is None or self._next != sample:
            self.close()
            self._stream = self._open_stream(self._split, int(shards[sample]), sample)
        self._next = sample + 1
        given = self._early
        try:
            while given is None or given[0] < key:
                given = next(self._stream)
        except (StopIteration, StreamFailure):
            self.close()
            return None
        self._early = given if given[0] > key else None
        if self._next == len(shards) or shards[self._next] != shards[sample]:
            self.close()
        image = given[1] if given[0] == key else None
        return image if image is not None and self._split.is_packed(sample, image) else None
