"""Encoded images, read and checked; by threads, ahead of a decoder that one bad image would kill.

Threads, not processes: reading a sample and its CRC-32 leave the interpreter free, and take 5 to 10 µs of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from data_shards.augmentation.crops import Crops
from data_shards.store.image_format import format_name, stored_size
from data_shards.store.index import Split


class EncodedBatch(NamedTuple):
    """Samples `ids` (int64 [B]), what to show of them, and their bytes as stored (B of them)."""

    ids: np.ndarray
    crops: Crops
    images: list[bytes]


def read_image(split: Split, sample: int) -> bytes:
    """The stored bytes of a sample, whose header says what the index says: nothing larger is ever decoded.

    Raises ShardDamage, which names shard, key and offset, for what is missing, cut, altered or no image.
    """
    image, row = split.read(sample), split.index[sample]
    try:
        height, width = stored_size(image)
    except ValueError as error:
        raise split.damage(sample, f"not a whole {format_name(image)}: {error}") from None
    if (height, width) != (row["height"], row["width"]):
        raise split.damage(sample, f"is {width} x {height} pixels; the index says {row['width']} x {row['height']}")
    return image


def read_encoded(split: Split, ids: np.ndarray) -> list[bytes]:
    """`read_image` of each of the samples `ids` (int [B])."""
    return [read_image(split, sample) for sample in ids.tolist()]


def read_batches_ahead(
    split: Split, requests: Iterable[tuple[np.ndarray, Crops]], threads: int, ahead: int
) -> Generator[EncodedBatch, None, None]:
    """The batches asked for, in order, while `threads` threads read the next `ahead` ones.

    ShardDamage is raised in the place of the batch that it concerns.
    """
    _ = split.index  # read here where it was not before: NumPy's parser is not for several threads
    pool = ThreadPoolExecutor(threads, thread_name_prefix="shards")
    pending: deque[tuple[np.ndarray, Crops, Future[list[bytes]]]] = deque()
    try:
        for ids, crops in requests:
            pending.append((ids, crops, pool.submit(read_encoded, split, ids)))
            if len(pending) > ahead:
                yield _finished(pending)
        while pending:
            yield _finished(pending)
    finally:
        pool.shutdown(cancel_futures=True)


def _finished(pending: deque[tuple[np.ndarray, Crops, Future[list[bytes]]]]) -> EncodedBatch:
    ids, crops, images = pending.popleft()
    return EncodedBatch(ids, crops, images.result())
