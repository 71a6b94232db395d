"""Encoded images, read and checked by threads ahead of a decoder that one bad image would kill.

Threads, not processes: reading a sample and its CRC-32 leave the interpreter free, and take 5 to 10 µs of it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from data_shards.augment import Plan
from data_shards.image_format import format_name, stored_size
from data_shards.index import Split


class EncodedBatch(NamedTuple):
    """Samples `ids` (int64 [B]), what to show of them, and their bytes as stored (B of them)."""

    ids: np.ndarray
    plan: Plan
    images: list[bytes]


def read_encoded(split: Split, ids: np.ndarray) -> list[bytes]:
    """The stored bytes of samples `ids` (int [B]), whose headers say what the index says.

    Raises ShardDamage, which names shard, key and offset, for the first that is missing, cut, altered or no image.
    """
    images = []
    for sample in ids.tolist():
        image = split.read(sample)
        _check(split, sample, image)
        images.append(image)
    return images


def read_ahead(
    split: Split, requests: Iterable[tuple[np.ndarray, Plan]], threads: int, ahead: int
) -> Generator[EncodedBatch, None, None]:
    """The batches asked for, in order, while `threads` threads read the next `ahead` ones.

    ShardDamage is raised in the place of the batch that it concerns.
    """
    shares = [split.share(threads) for _ in range(threads)]
    of_thread = threading.local()

    def begin() -> None:
        of_thread.split = shares.pop()

    def read(ids: np.ndarray) -> list[bytes]:
        return read_encoded(of_thread.split, ids)

    pool = ThreadPoolExecutor(threads, thread_name_prefix="shards", initializer=begin)
    pending: deque[tuple[np.ndarray, Plan, Future[list[bytes]]]] = deque()
    try:
        for ids, plan in requests:
            pending.append((ids, plan, pool.submit(read, ids)))
            if len(pending) > ahead:
                yield _finished(pending)
        while pending:
            yield _finished(pending)
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(pending: deque[tuple[np.ndarray, Plan, Future[list[bytes]]]]) -> EncodedBatch:
    ids, plan, images = pending.popleft()
    return EncodedBatch(ids, plan, images.result())


def _check(split: Split, sample: int, image: bytes) -> None:
    row = split.index[sample]
    try:
        height, width = stored_size(image)
    except ValueError as error:
        raise split.damage(sample, f"not a whole {format_name(image)}: {error}") from None
    if (height, width) != (row["height"], row["width"]):
        raise split.damage(sample, f"is {width} x {height} pixels; the index says {row['width']} x {row['height']}")
