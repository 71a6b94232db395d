"""The rows of an index: what they tell of a sample, and how rows are found that cannot be right.

An index may come from anywhere, and a right checksum does not make its rows right. They are compared with the lengths
of the shards when the index is opened, and with an image's own header when the image is read. So no row makes a reader
take more memory or time than an image needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from data_shards.store.image_format import LONGEST_SIDE, MOST_PIXELS
from data_shards.store.manifest import ShardEntry
from data_shards.store.tar_walk import BLOCK

# 32 bytes per sample: 1.28M samples are 41 MB in each process that reads.
INDEX_DTYPE = np.dtype(
    [
        ("offset", "<u8"),  # of the image's first byte in its shard
        ("size", "<u4"),  # of the image, in bytes
        ("crc32", "<u4"),  # of the image's bytes
        ("shard", "<u4"),  # position in the manifest's list of shards
        ("label", "<i4"),
        ("height", "<u4"),  # in pixels
        ("width", "<u4"),
    ]
)


class StrangeRows(NamedTuple):
    """Rows that cannot be right.

    Attributes:
        first: the first such sample.
        count: how many.
        reason: what is wrong with it.
    """

    first: int
    count: int
    reason: str


# Which rows break the rule: bool [samples]; and what is wrong with one, told from the row and its shard's length.
_Rule: TypeAlias = tuple[np.ndarray, Callable[[np.void, np.uint64], str]]

_PART = 16384  # rows that are checked at a time


def sample_key(sample: int) -> str:
    """The WebDataset key of a sample: its id in nine digits."""
    return f"{sample:09d}"


def strange_rows(index: np.ndarray, shards: Sequence[ShardEntry], classes: int) -> StrangeRows | None:
    """The rows that cannot be right, by the first rule that any of them breaks; None where all can be right.

    Args:
        index: [samples] of `INDEX_DTYPE`, as many as the shards hold.
        shards: the manifest's lines about them.
        classes: number of classes.
    """
    samples = [shard.samples for shard in shards]
    number = np.repeat(np.arange(len(shards), dtype=np.uint32), samples)
    length = np.repeat(np.array([shard.bytes for shard in shards], np.uint64), samples)

    def broken(part: slice) -> Iterator[_Rule]:
        return _rules(index[part], number[part], length[part], classes)

    # In parts that fit the processor's cache. A part begins with the row before it, for its first row to compare with.
    parts = (slice(max(begin - 1, 0), begin + _PART) for begin in range(0, len(index), _PART))
    if not any(rows.any() for part in parts for rows, _ in broken(part)):
        return None
    rows, reason = next((rows, reason) for rows, reason in broken(slice(None)) if rows.any())
    first = int(rows.argmax())
    return StrangeRows(first, int(np.count_nonzero(rows)), reason(index[first], length[first]))


def _rules(index: np.ndarray, number: np.ndarray, length: np.ndarray, classes: int) -> Iterator[_Rule]:
    """The rules, from the most basic one on.

    Args:
        index: [rows] of `INDEX_DTYPE`.
        number: of the shard that holds the sample: uint32 [rows].
        length: of that shard, in bytes: uint64 [rows].
        classes: number of classes.
    """
    yield index["shard"] != number, lambda row, _: f"the shard {row['shard']} is not the one that holds this sample"
    offset, size = np.ascontiguousarray(index["offset"]), np.ascontiguousarray(index["size"])
    yield (
        (size == 0) | (offset < BLOCK) | (offset % BLOCK != 0) | (offset > length) | (size > length - offset),
        lambda row, length: (
            f"an image of {row['size']} bytes at byte {row['offset']} does not lie in a shard of {length} bytes"
        ),
    )
    early = np.zeros(len(index), bool)
    # Behind an image come at least its label's header, its label, and the header of the next image.
    behind = offset[:-1] + size[:-1] + np.uint64(3 * BLOCK)
    early[1:] = (number[1:] == number[:-1]) & (offset[1:] < behind)
    yield early, lambda row, _: f"the image at byte {row['offset']} begins before the end of the sample before it"
    height, width = index["height"].astype(np.uint64), index["width"]
    shorter, longer = np.minimum(height, width), np.maximum(height, width)
    yield (  # as `image_format.check_size` has it
        (shorter < 1) | (longer > LONGEST_SIDE) | (height * width > MOST_PIXELS),
        lambda row, _: f"no image has {row['width']} × {row['height']} pixels",
    )
    label = index["label"]
    yield (label < 0) | (label >= classes), lambda row, _: f"the label {row['label']} is not one of 0 … {classes - 1}"
