"""Reads a shard from a sample on, in stored order, by DALI's own WebDataset reader.

DALI reads what a listing of samples and their places tells it to. The listing is made here from the index: so a shard
can be entered in the middle, and one that was cut is noticed. A listing made from the tar would just be shorter.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from data_shards.decoding import dali_graphs
from data_shards.store.index import Split
from data_shards.store.regular_file import open_regular
from data_shards.streaming.failure import StreamFailure
from data_shards.streaming.sequential import Stream

_BATCH = 32  # samples that DALI reads at a time; where one of them is damaged, all are read again one by one


def stream_shard(split: Split, shard: int, first: int) -> Stream:
    """The samples of a shard from one of them on.

    Args:
        shard: number of the shard.
        first: id of the first sample.

    Yields:
        Key and encoded image of each sample.

    Raises:
        StreamFailure: the shard cannot be opened, or DALI cannot read a sample of the batch that comes next.
    """
    rows, path = split.index["shard"], Path(split.place(shard))
    end = int(np.searchsorted(rows, shard, side="right"))  # shards hold consecutive samples
    try:
        os.close(open_regular(path))  # DALI would wait for a FIFO to be written to
    except OSError as error:
        raise StreamFailure(f"cannot be opened: {error.strerror}", final=True) from None
    try:
        with TemporaryDirectory(prefix="deps-") as folder:
            listing = Path(folder) / "listing"
            listing.write_text(_listing(split, first, end), encoding="utf-8")
            pipeline = dali_graphs.stored_samples(path, listing, _BATCH)
        for begin in range(first, end, _BATCH):
            images, sources = pipeline.run()
            for position in range(min(_BATCH, end - begin)):
                key = bytes(sources.at(position)).rpartition(b":")[2].decode()
                yield key, bytes(images.at(position))
    except RuntimeError as error:
        raise StreamFailure(" ".join(str(error).split())) from None


def _listing(split: Split, first: int, end: int) -> str:
    samples = zip(range(first, end), split.index["offset"][first:end], split.index["size"][first:end], strict=True)
    lines = (f"{dali_graphs.LISTED} {offset} {size} {split.key(sample)}" for sample, offset, size in samples)
    return "\n".join((f"v1.2 {end - first}", *lines, ""))
