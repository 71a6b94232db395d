"""Random access to packed samples: the index, and reading at it with a checksum per sample.

The index is written while packing, never derived from the tars: a tar that was cut cannot make it shorter unnoticed.
It is read whole and not mapped: cutting a mapped file ends the processes that read it, and overwriting it changes their
labels.

What becomes of a shard that is replaced while it is read: where it is written over in place, samples that changed fail
their checksums. Where another file takes its name, or it is deleted, whoever has the packed file open goes on reading
that one, and whoever opens it next meets the new one, where samples that are not the packed ones fail their checksums.
"""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from collections import OrderedDict
from functools import cached_property
from pathlib import Path

import numpy as np

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.manifest import INDEX_NAME, SplitEntry, read_manifest

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

# Below the usual limit of 1024 open files per process, sockets and libraries included.
OPEN_SHARDS = 512


def sample_key(sample: int) -> str:
    """The WebDataset key of a sample: its id, padded with zeros, so that a name needs no reading."""
    return f"{sample:09d}"


class Split:
    """One split of a packed data set; ids are 0 … len - 1. Get one from `open_split`.

    Cheap to pickle (the index is read anew, files are opened when first read), hence to send to worker processes.

    Attributes:
        root, name: the data set's folder and the split's name.
        entry: the split's part of the manifest.
        classes: class names, by label.
    """

    def __init__(self, root: Path, name: str, entry: SplitEntry, classes: tuple[str, ...]):
        self.root, self.name, self.entry, self.classes = Path(root), name, entry, classes
        self._descriptors: OrderedDict[int, int] = OrderedDict()
        self._threads = 1

    def __reduce__(self):
        return Split, (self.root, self.name, self.entry, self.classes)

    def __del__(self):
        for descriptor in getattr(self, "_descriptors", {}).values():
            os.close(descriptor)

    def __len__(self) -> int:
        return self.entry.samples

    def __repr__(self) -> str:
        return f"Split({str(self.root)!r}, {self.name!r}, {len(self)} samples)"

    @property
    def folder(self) -> Path:
        return self.root / self.name

    def place(self, shard: int) -> Path | str:
        """Where a shard (its number) is read from: a path here."""
        return self.folder / self.entry.shards[shard].name

    @property
    def samples(self) -> int:
        return self.entry.samples

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @cached_property
    def index(self) -> np.ndarray:
        """[samples] of `INDEX_DTYPE`, read-only. Raises ShardDamage, on first use, unless it is the packed one."""
        return read_index(self.folder / INDEX_NAME, self.entry, self.num_classes)

    @cached_property
    def labels(self) -> np.ndarray:
        """int64 [samples]."""
        return self.index["label"].astype(np.int64)

    def key(self, sample: int) -> str:
        """The sample's key, as it stands in its shard (`KEY.jpg` or `KEY.png`, and `KEY.cls`)."""
        return sample_key(sample)

    def share(self, threads: int) -> Split:
        """A copy for one of `threads` threads that read at the same time: a Split itself is not for several threads.

        Together they keep to the limit on open files, which is one per process, and to one index. To be called from
        one thread: the index is read here where it was not before, and NumPy's parser is not for several threads.
        """
        split = Split(self.root, self.name, self.entry, self.classes)
        split.index = self.index
        split._threads = threads
        return split

    def read(self, sample: int) -> bytes:
        """The image's bytes (JPEG or PNG). Raises ShardDamage where they are missing, cut, unreadable or altered."""
        row = self.index[sample]
        size, offset, shard = int(row["size"]), int(row["offset"]), int(row["shard"])
        try:
            payload = os.pread(self._descriptor(shard), size, offset)
        except OSError as error:
            raise self.damage(sample, f"cannot be read: {error.strerror}") from None
        if len(payload) < size:
            raise self.damage(sample, f"the shard ends after {len(payload)} of the image's {size} bytes")
        if not self.is_packed(sample, payload):
            raise self.damage(
                sample, f"the image's bytes are not those that were packed (CRC-32 differs){self._length(shard)}"
            )
        return payload

    def is_packed(self, sample: int, payload: bytes) -> bool:
        """Whether these are the sample's bytes, by length and CRC-32."""
        row = self.index[sample]
        return len(payload) == row["size"] and zlib.crc32(payload) == row["crc32"]

    def damage(self, sample: int, reason: str) -> ShardDamage:
        """A ShardDamage that names the sample's shard, key and offset."""
        row = self.index[sample]
        return ShardDamage(self.place(int(row["shard"])), reason, key=self.key(sample), offset=int(row["offset"]))

    def _length(self, shard: int) -> str:
        """What the length of a shard has to say, where it is not the packed one."""
        length, packed = os.fstat(self._descriptor(shard)).st_size, self.entry.shards[shard].bytes
        return "" if length == packed else f"; the shard has {length} bytes, {packed} were packed"

    def _descriptor(self, shard: int) -> int:
        if shard in self._descriptors:
            self._descriptors.move_to_end(shard)
            return self._descriptors[shard]
        descriptor = os.open(self.place(shard), os.O_RDONLY | os.O_CLOEXEC)
        self._descriptors[shard] = descriptor
        if len(self._descriptors) > max(OPEN_SHARDS // self._threads, 1):
            os.close(self._descriptors.popitem(last=False)[1])
        return descriptor


def open_split(root: Path | str, split: str) -> Split:
    """Opens one split for reading.

    Checks without reading the shards: their presence and length, and the index's length and checksum. Raises
    ShardUsageError for a missing data set or split, ShardDamage for files that do not fit the manifest.
    """
    root = Path(root)
    entry, classes = find_split(root, split)
    opened = Split(root, split, entry, classes)
    _ = opened.index  # read now, to complain now
    for shard in entry.shards:
        path = root / split / shard.name
        try:
            length = path.stat().st_size
        except OSError as error:
            raise ShardDamage(path, f"cannot be opened: {error.strerror}") from None
        if length != shard.bytes:
            raise ShardDamage(path, f"has {length} bytes; {shard.bytes} were packed (`deps shards verify {root}`)")
    return opened


def find_split(root: Path, split: str) -> tuple[SplitEntry, tuple[str, ...]]:
    """A split's part of the manifest, and the class names. Raises as `open_split` does for those."""
    manifest = read_manifest(root)
    if split not in manifest.splits:
        raise ShardUsageError(f"{root}: no split {split!r}; it has {', '.join(manifest.splits)}")
    return manifest.splits[split], manifest.classes


def read_index(path: Path, entry: SplitEntry, classes: int) -> np.ndarray:
    """The index at `path`: [samples] of `INDEX_DTYPE`, read-only.

    Raises ShardDamage unless it is the one that was written with the shards, and its labels are below `classes`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ShardDamage(path, f"cannot be read: {error.strerror}") from None
    index = _parsed(path, content, entry.samples)
    if hashlib.sha256(content).hexdigest() != entry.index_sha256:
        raise ShardDamage(path, "is not the index that was packed with these shards (SHA-256 differs)")
    strange = np.flatnonzero((index["label"] < 0) | (index["label"] >= classes))
    if len(strange):
        first = int(strange[0])
        row = len(content) - index.nbytes + first * INDEX_DTYPE.itemsize
        reason = f"the label {index[first]['label']} is not one of 0 … {classes - 1}"
        raise ShardDamage(path, f"{reason} ({len(strange)} such samples)", key=sample_key(first), offset=row)
    return index


def _parsed(path: Path, content: bytes, samples: int) -> np.ndarray:
    try:
        header = io.BytesIO(content)
        version = np.lib.format.read_magic(header)
        shape, _, dtype = np.lib.format.read_array_header_1_0(header)
        if (version, dtype, len(shape)) != ((1, 0), INDEX_DTYPE, 1):
            raise ShardDamage(path, "is not an index: no list of samples")
        index = np.frombuffer(content, INDEX_DTYPE, offset=header.tell(), count=shape[0])  # np.load would copy
    except ShardDamage:
        raise
    except Exception as error:  # NumPy parses the header as Python: a damaged one fails in ways beyond listing
        raise ShardDamage(path, f"is not a whole index: {' '.join(str(error).split())}") from None
    if len(index) != samples:
        raise ShardDamage(path, f"lists {len(index)} samples; the shards were packed with {samples}")
    return index
