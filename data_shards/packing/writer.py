"""Writes one WebDataset tar, and makes up its index rows and its checksum on the way."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from data_shards.sources import Sample
from data_shards.store.durable_file import WriteError
from data_shards.store.image_format import extension_of
from data_shards.store.index import INDEX_DTYPE, sample_key
from data_shards.store.manifest import ShardEntry


class ShardWriter:
    """A tar of `KEY.jpg` (or `.png`) and `KEY.cls` (the label in decimal digits) per sample, in the order written.

    The bytes depend on the samples alone: there are no times and no owners in them. It is a context manager: within the
    context the tar is written beside `path`; after it the tar is at `path`, and `entry` and `rows` are complete. Where
    an error is raised in the context, or `discard` is called, nothing of it stays.

    Args:
        path: of the tar; a file that is there is replaced.
        number: the shard's position in its split, for the index.
        first: id of the first sample; ids of the others follow.

    Raises:
        WriteError: the disk does not take the tar; the tar, the sample and the place in it are named.
    """

    def __init__(self, path: Path, number: int, first: int):
        self.path, self._number, self._first = path, number, first
        self._part = path.with_name(path.name + ".part")
        self._discarded = False
        self._rows: list[tuple[int, ...]] = []
        self._sha256 = hashlib.sha256()

    def __enter__(self) -> ShardWriter:
        self._file = open(self._part, "wb")
        self._tar = tarfile.open(fileobj=_Hashing(self._file, self._sha256), mode="w", format=tarfile.USTAR_FORMAT)
        return self

    def __exit__(self, *failure) -> None:
        whole = failure[0] is None and not self._discarded
        try:
            if whole:
                with self._named("end"):
                    self._tar.close()
                    self._file.flush()
                    os.fsync(self._file.fileno())
                    self._file.close()
                    os.replace(self._part, self.path)
        finally:
            with suppress(OSError):  # on a full disk closing fails too, and the first error is the one to raise
                self._file.close()
            self._part.unlink(missing_ok=True)

    def discard(self) -> None:
        """Have what was written removed at the end of the context."""
        self._discarded = True

    def write(self, sample: Sample) -> None:
        """Append a sample."""
        key = sample_key(self._first + len(self._rows))
        with self._named(f"sample {key}"):
            offset = self._member(f"{key}.{extension_of(sample.encoded)}", sample.encoded)
            self._member(f"{key}.cls", str(sample.label).encode())
        crc = zlib.crc32(sample.encoded)
        self._rows.append((offset, len(sample.encoded), crc, self._number, sample.label, sample.height, sample.width))

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        offset = self._file.tell()
        try:
            yield
        except OSError as error:
            reason = f"{what} at byte {offset} cannot be written: {error.strerror}"
            raise WriteError(error.errno, reason, str(self.path)) from None

    @property
    def rows(self) -> np.ndarray:
        """Index rows of the samples written: [samples] of `INDEX_DTYPE`."""
        return np.array(self._rows, INDEX_DTYPE)

    @property
    def entry(self) -> ShardEntry:
        """The shard's line in the manifest."""
        return ShardEntry(
            name=self.path.name,
            samples=len(self._rows),
            bytes=self.path.stat().st_size,
            sha256=self._sha256.hexdigest(),
        )

    def _member(self, name: str, payload: bytes) -> int:
        """Append a member; return the place of its payload, in bytes."""
        member = tarfile.TarInfo(name)  # owner 0, time 0, mode 0644
        member.size = len(payload)
        offset = self._file.tell() + tarfile.BLOCKSIZE  # names this short have a header of one block
        self._tar.addfile(member, io.BytesIO(payload))
        return offset


class _Hashing(io.RawIOBase):
    """A file whose bytes are hashed as they are written."""

    def __init__(self, file: io.BufferedWriter, digest):
        self._file, self._digest = file, digest

    def write(self, data, /) -> int:
        self._digest.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()
