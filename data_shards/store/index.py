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
import stat
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.store.index_rows import INDEX_DTYPE, sample_key, strange_rows
from data_shards.store.manifest import INDEX_NAME, SplitEntry, read_manifest
from data_shards.store.open_files import OpenFile, OpenFiles
from data_shards.store.regular_file import open_regular

_HEADER = 1 << 16  # bytes, more than the header of any index takes


class Split:
    """One split of a packed data set; ids are 0 … len - 1. Get one from `open_split`.

    Cheap to pickle (the index is read anew, files are opened when first read), hence to send to worker processes.
    Threads may share it once its index is read, as it is by `open_split`.

    Attributes:
        root, name: the data set's folder and the split's name.
        entry: the split's part of the manifest.
        classes: class names, by label.
    """

    def __init__(self, root: Path, name: str, entry: SplitEntry, classes: tuple[str, ...]):
        self.root, self.name, self.entry, self.classes = Path(root), name, entry, classes
        self._files = OpenFiles()

    def __reduce__(self):
        return Split, (self.root, self.name, self.entry, self.classes)

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

    def read(self, sample: int) -> bytes:
        """The image's bytes (JPEG or PNG). Raises ShardDamage where they are missing, cut, unreadable or altered."""
        row = self.index[sample]
        size, offset, shard = int(row["size"]), int(row["offset"]), int(row["shard"])
        try:
            file = self._files.get(shard, self.place)
            payload = os.pread(file.descriptor, size, offset)
        except OSError as error:
            raise self.damage(sample, f"cannot be read: {error.strerror}") from None
        if len(payload) < size:
            raise self.damage(sample, f"the shard ends after {len(payload)} of the image's {size} bytes")
        if not self.is_packed(sample, payload):
            raise self.damage(
                sample, f"the image's bytes are not those that were packed (CRC-32 differs){self._length(shard, file)}"
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

    def _length(self, shard: int, file: OpenFile) -> str:
        """What the length of a shard has to say, where it is not the packed one."""
        length, packed = os.fstat(file.descriptor).st_size, self.entry.shards[shard].bytes
        return "" if length == packed else f"; the shard has {length} bytes, {packed} were packed"


def open_split(root: Path | str, split: str) -> Split:
    """Opens one split for reading.

    Checks without reading the shards: their presence and length, the index's length and checksum, and that its rows can
    be about these shards. Raises ShardUsageError for a missing data set or split, ShardDamage for files that do not fit
    the manifest.
    """
    root = Path(root)
    entry, classes = find_split(root, split)
    opened = Split(root, split, entry, classes)
    _ = opened.index  # read now, to complain now
    for shard in entry.shards:
        path = root / split / shard.name
        try:
            found = path.stat()
        except OSError as error:
            raise ShardDamage(path, f"cannot be opened: {error.strerror}") from None
        if not stat.S_ISREG(found.st_mode):
            raise ShardDamage(path, "is not a regular file")
        if found.st_size != shard.bytes:
            raise ShardDamage(
                path, f"has {found.st_size} bytes; {shard.bytes} were packed (`deps shards verify {root}`)"
            )
    return opened


def find_split(root: Path, split: str) -> tuple[SplitEntry, tuple[str, ...]]:
    """A split's part of the manifest, and the class names. Raises as `open_split` does for those."""
    manifest = read_manifest(root)
    if split not in manifest.splits:
        raise ShardUsageError(f"{root}: no split {split!r}; it has {', '.join(manifest.splits)}")
    return manifest.splits[split], manifest.classes


def read_index(path: Path, entry: SplitEntry, classes: int) -> np.ndarray:
    """The index at `path`: [samples] of `INDEX_DTYPE`, read-only.

    Raises ShardDamage unless it is the one that was written with the shards, and each row can be about these shards and
    `classes` (see `data_shards.store.index_rows`).
    """
    content = _content(path, entry.samples)
    index = _parsed(path, content, entry.samples)
    if hashlib.sha256(content).hexdigest() != entry.index_sha256:
        raise ShardDamage(path, "is not the index that was packed with these shards (SHA-256 differs)")
    strange = strange_rows(index, entry.shards, classes)
    if strange is not None:
        row = len(content) - index.nbytes + strange.first * INDEX_DTYPE.itemsize
        reason = f"{strange.reason} ({strange.count} such samples)"
        raise ShardDamage(path, reason, key=sample_key(strange.first), offset=row)
    return index


def _content(path: Path, samples: int) -> bytes:
    try:
        with open(open_regular(path), "rb") as file:
            length = os.fstat(file.fileno()).st_size
            if length > samples * INDEX_DTYPE.itemsize + _HEADER:
                raise ShardDamage(path, f"has {length} bytes, more than the index of {samples} samples")
            return file.read()
    except OSError as error:
        raise ShardDamage(path, f"cannot be read: {error.strerror}") from None


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
