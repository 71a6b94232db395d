"""The rows of an index: what they say of a sample, and what they cannot say, whatever their checksum.

An index may come from anywhere. What it says is compared with its shards' lengths when it is opened, and with the
image's own header when that is read: no row makes a reader take memory or time that no image needs.
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
    """Rows that cannot be right: the first such sample, how many there are, and what is wrong with the first."""

    first: int
    count: int
    reason: str


# Which rows break it, and what is wrong with one, of the row and the length of its shard.
_Rule: TypeAlias = tuple[np.ndarray, Callable[[np.void, np.uint64], str]]

_PART = 16384  # rows


def sample_key(sample: int) -> str:
    """The WebDataset key of a sample: its id, padded with zeros, so that a name needs no reading."""
    return f"{sample:09d}"


def strange_rows(index: np.ndarray, shards: Sequence[ShardEntry], classes: int) -> StrangeRows | None:
    """The rows that break the first rule that any row breaks; None where all can be right.

    Args:
        index: [samples] of `INDEX_DTYPE`, as many as `shards` hold.
        classes: number of classes.
    """
    samples = [shard.samples for shard in shards]
    number = np.repeat(np.arange(len(shards), dtype=np.uint32), samples)
    length = np.repeat(np.array([shard.bytes for shard in shards], np.uint64), samples)

    def broken(part: slice) -> Iterator[_Rule]:
        return _rules(index[part], number[part], length[part], classes)

    # A part at a time, as it stays in the processor's cache; with the row before it, which its first is compared with.
    parts = (slice(max(begin - 1, 0), begin + _PART) for begin in range(0, len(index), _PART))
    if not any(rows.any() for part in parts for rows, _ in broken(part)):
        return None
    rows, reason = next((rows, reason) for rows, reason in broken(slice(None)) if rows.any())
    first = int(rows.argmax())
    return StrangeRows(first, int(np.count_nonzero(rows)), reason(index[first], length[first]))


def _rules(index: np.ndarray, number: np.ndarray, length: np.ndarray, classes: int) -> Iterator[_Rule]:
    """What every row has to fit, first things first.

    Args:
        number, length: of the shard that holds the sample; uint32 and uint64, [samples] as `index`.
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
    behind = (
        offset[:-1] + size[:-1] + np.uint64(3 * BLOCK)
    )  # the image before it, the label's header, the label, a header
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
