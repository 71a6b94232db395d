"""Random access to packed samples: each is read at the place that the index gives, and compared with its checksum.

The index is written while packing, never derived from the tars, so that a tar that was cut cannot make it shorter
unnoticed. It is read as a whole, and not mapped into memory: a process that reads a mapped file is killed when the file
is cut, and gets other labels when the file is overwritten.

A shard may be replaced while it is read. Where it is overwritten in place, changed samples fail their checksums. Where
another file takes its name, or it is deleted, a process that has it open goes on reading it; one that opens it then
gets the new file, in which all samples but the packed ones fail their checksums.
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

_HEADER = 1 << 16  # bytes: more than the header of an index takes


class Split:
    """One split of a packed data set; ids are 0 … len - 1. Get one from `open_split`.

    Cheap to pickle (the index is read anew, files are opened when first read), hence to send to worker processes.
    Threads may share it once its index is read, as it is by `open_split`.

    Attributes:
        root, name: the data set's folder and the split's name.
        entry: the split's part of the manifest.
        classes: class names, by label.
        is_remote: whether shards are elsewhere, where each attempt to read takes time.
    """

    is_remote = False

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
        """Where a shard, given by its number, is read from: a path; in other kinds of splits a URL or a command."""
        return self.folder / self.entry.shards[shard].name

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @cached_property
    def index(self) -> np.ndarray:
        """The index: [samples] of `INDEX_DTYPE`, read-only.

        Raises:
            ShardDamage: on first use, where it is not the packed one.
        """
        return read_index(self.folder / INDEX_NAME, self.entry, self.num_classes)

    @cached_property
    def labels(self) -> np.ndarray:
        """The label of each sample: int64 [samples]."""
        return self.index["label"].astype(np.int64)

    def key(self, sample: int) -> str:
        """The sample's key, as it stands in its shard (`KEY.jpg` or `KEY.png`, and `KEY.cls`)."""
        return sample_key(sample)

    def read(self, sample: int) -> bytes:
        """The image's bytes (JPEG or PNG).

        Raises:
            ShardDamage: they are missing, cut, unreadable or altered.
        """
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
        """A remark on the shard's length, where that is not the packed one."""
        length, packed = os.fstat(file.descriptor).st_size, self.entry.shards[shard].bytes
        return "" if length == packed else f"; the shard has {length} bytes, {packed} were packed"


def open_split(root: Path | str, split: str) -> Split:
    """Open one split for reading.

    Checked are, without reading the shards, that they are there and how long they are, the index's length and checksum,
    and that its rows can be about these shards.

    Args:
        root: folder of a packed data set.
        split: name of the split.

    Raises:
        ShardUsageError: there is no such data set or split.
        ShardDamage: files do not fit the manifest.
    """
    root = Path(root)
    entry, classes = find_split(root, split)
    opened = Split(root, split, entry, classes)
    _ = opened.index  # read now, so that damage is told now
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
    """A split's part of the manifest, and the class names.

    Raises:
        ShardUsageError: there is no such data set or split.
        ShardDamage: the manifest is damaged.
    """
    manifest = read_manifest(root)
    if split not in manifest.splits:
        raise ShardUsageError(f"{root}: no split {split!r}; it has {', '.join(manifest.splits)}")
    return manifest.splits[split], manifest.classes


def read_index(path: Path, entry: SplitEntry, classes: int) -> np.ndarray:
    """Read an index: [samples] of `INDEX_DTYPE`, read-only.

    Args:
        entry: the split's part of the manifest.
        classes: number of classes.

    Raises:
        ShardDamage: it is not the one that was written with the shards, or a row cannot be about these shards and
            classes (see `store.index_rows`).
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
        index = np.frombuffer(content, INDEX_DTYPE, offset=header.tell(), count=shape[0])  # np.load would copy it
    except ShardDamage:
        raise
    except Exception as error:  # NumPy parses the header as Python: a damaged one may raise anything
        raise ShardDamage(path, f"is not a whole index: {' '.join(str(error).split())}") from None
    if len(index) != samples:
        raise ShardDamage(path, f"lists {len(index)} samples; the shards were packed with {samples}")
    return index
