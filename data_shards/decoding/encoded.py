"""Reads encoded images and checks them, so that no decoder meets a bad one; for DALI, in threads that prefetch.

Threads are enough, no processes are needed: of the time that reading a sample takes, with its CRC-32, only 5 to 10 µs
are the interpreter's.
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
    """Samples that were read.

    Attributes:
        ids: int64 [B].
        crops: what to show of them.
        images: the bytes stored of each.
    """

    ids: np.ndarray
    crops: Crops
    images: list[bytes]


def read_image(split: Split, sample: int) -> bytes:
    """The stored bytes of a sample. Its header gives the size that the index gives: nothing larger is ever decoded.

    Raises:
        ShardDamage: the sample is missing, cut, altered or no image; shard, key and offset are named.
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


def encoded_batches(
    split: Split, requests: Iterable[tuple[np.ndarray, Crops]], threads: int, ahead: int
) -> Generator[EncodedBatch, None, None]:
    """The batches asked for, in order, while the next ones are read.

    Args:
        requests: ids, int64 [B], and what to show of them.
        threads: number of threads that read.
        ahead: number of batches that are read ahead.

    Raises:
        ShardDamage: in the place of the batch that has a damaged sample.
    """
    _ = split.index  # read now, if it was not before: NumPy's parser must not run in several threads
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
