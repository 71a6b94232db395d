"""A split that reads blocks of samples through streams, before they are needed, and gives them out one by one."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np

from data_shards.errors import ShardDamage
from data_shards.store.index import Split
from data_shards.streaming import dali as dali_stream
from data_shards.streaming import webdataset as webdataset_stream
from data_shards.streaming.sampler import Block
from data_shards.streaming.sequential import SequentialReader


class StreamedSplit(Split):
    """Reads the blocks that it is told to expect in stored order; any other sample is read at its place.

    What it has read is a cache, on which nothing depends but time. A thread of its own reads, so that network and
    decoder are busy at the same time. Threads may share it.

    Args:
        split: where the samples are.
        reader: "python" for streams through the webdataset library, "dali" for streams through DALI.
        keeps: number of calls of `expect` for which a block is kept after the one that named it.
    """

    def __init__(self, split: Split, reader: Literal["python", "dali"], keeps: int):
        super().__init__(split.root, split.name, split.entry, split.classes)
        self._split, self._reader, self._keeps = split, reader, keeps
        self._expected: deque[tuple[Block, ...]] = deque(maxlen=keeps)
        self._wanted: set[Block] = set()
        self._blocks: dict[Block, Future[dict[int, bytes | ShardDamage]]] = {}
        self._lock = threading.Lock()

    def __reduce__(self):
        return StreamedSplit, (self._split, self._reader, self._keeps)

    @cached_property
    def index(self) -> np.ndarray:
        return self._split.index

    def __len__(self) -> int:
        return len(self._split)

    def key(self, sample: int) -> str:
        return self._split.key(sample)

    def place(self, shard: int) -> Path | str:
        return self._split.place(shard)

    def expect(self, blocks: tuple[Block, ...]) -> None:
        """Begin to read those of these blocks that are not begun yet, and drop those that are expected no more."""
        with self._lock:
            self._expected.append(blocks)
            self._wanted = set(chain.from_iterable(self._expected))
            for block in self._blocks.keys() - self._wanted:
                self._blocks.pop(block).cancel()
            for block in blocks:
                if block not in self._blocks:
                    self._blocks[block] = self._thread.submit(self._read_block, block)

    def read(self, sample: int) -> bytes:
        """The image's bytes.

        Raises:
            ShardDamage: they are missing, cut, unreadable or altered.
        """
        found = self._found(sample)
        if found is None:  # it was not expected
            with self._lock:
                return self._split.read(sample)
        if isinstance(found, ShardDamage):
            raise found
        return found

    def _found(self, sample: int) -> bytes | ShardDamage | None:
        with self._lock:
            blocks = list(self._blocks.items())
        for block, future in blocks:
            if any(first <= sample < end for first, end in block):
                with suppress(CancelledError):  # it was dropped meanwhile
                    return future.result().get(sample)
        return None

    def _read_block(self, block: Block) -> dict[int, bytes | ShardDamage]:
        found: dict[int, bytes | ShardDamage] = {}
        for sample, image in chain.from_iterable(self._stream.read(*run) for run in block):
            found[sample] = image
            if block not in self._wanted:  # it was dropped meanwhile
                break
        return found

    @cached_property
    def _thread(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="stream")

    @cached_property
    def _stream(self) -> SequentialReader:
        open_stream = dali_stream.stream_shard if self._reader == "dali" else webdataset_stream.stream_shard
        return SequentialReader(self._split, open_stream, stops=self._split.is_remote)
