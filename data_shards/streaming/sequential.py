"""Reads runs of samples in the order in which they are stored, going on where the run before has ended."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TypeAlias

from data_shards.errors import ShardDamage
from data_shards.store.index import Split
from data_shards.streaming.failure import StreamFailure

# A stream gives keys and images, in order of the keys, until the shard ends or StreamFailure is raised.
Stream: TypeAlias = Generator[tuple[str, bytes], None, None]

# Opens a stream of a split's shard (its number), from a sample (its id) on, or from an earlier one.
OpenStream: TypeAlias = Callable[[Split, int, int], Stream]

_IN_VAIN = 2  # samples one after the other that neither the stream gave nor a second reading


class SequentialReader:
    """Reads `split` through streams; for one thread.

    What a stream does not give as it was packed is read once more by itself, as `split` does: that tells what is wrong,
    finds what only the stream could not read, and overcomes a connection that broke off.

    Args:
        open_stream: opens one shard. What it gives may end early or hold anything: each sample is looked for by its
            key, and compared with the index.
        stops: whether a shard of which nothing comes any more is given up until the next run, rather than asked for
            sample by sample: for places where each attempt costs time.
    """

    def __init__(self, split: Split, open_stream: OpenStream, stops: bool):
        self._split, self._open_stream, self._stops = split, open_stream, stops
        self._stream: Stream | None = None
        self._next = 0  # the sample that the stream should give next
        self._early: tuple[str, bytes] | None = None  # what the stream gave before its turn

    def read(self, first: int, end: int) -> Iterator[tuple[int, bytes | ShardDamage]]:
        """Samples `first` up to, and without, `end`, all of one shard: for each its image, or what is wrong with it."""
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
        """Lets go of the open shard."""
        if self._stream is not None:
            self._stream.close()
        self._stream = self._early = None

    def _from_stream(self, sample: int) -> bytes | None:
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
