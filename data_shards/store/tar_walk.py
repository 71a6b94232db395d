"""Walks through a tar block by block, and goes on behind what is broken, where readers of tars would stop."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from data_shards.store.regular_file import open_regular

BLOCK = tarfile.BLOCKSIZE


class Member(NamedTuple):
    """A file in a tar.

    Attributes:
        payload: its bytes, fewer than `size` where the tar ends within it.
    """

    name: str
    offset: int  # of the payload
    size: int
    payload: bytes


class Break(NamedTuple):
    """A place, in bytes, where a header or the end mark should be and is not."""

    offset: int
    reason: str


class TarWalk:
    """Iterates over the members of the tar at `path`, and the breaks between them, in one sequential read.

    Attributes:
        bytes: number of bytes read; after the iteration, of the whole file.
        sha256: of the bytes read, in hex.
        unreadable: where the disk gave no more than the first `bytes` bytes, why.

    Raises:
        OSError: on iteration, where the file cannot be opened, or the disk gives none of it.
    """

    def __init__(self, path: Path):
        self.path = path
        self.bytes = 0
        self.unreadable: str | None = None
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def __iter__(self) -> Iterator[Member | Break]:
        with open(open_regular(self.path), "rb") as self._file:
            self._length = os.fstat(self._file.fileno()).st_size
            lost, ended = False, False
            while block := self._read(BLOCK):
                offset = self.bytes - len(block)
                if not any(block):
                    ended = True
                    continue
                member, reason = _parse(block)
                if member is not None:
                    payload = self._read(member.size)
                    yield Member(member.name, offset + BLOCK, member.size, payload)
                    self._read(-member.size % BLOCK)
                    ended, lost = False, False
                elif not lost:  # one break, however many blocks until the next header
                    yield Break(offset, reason)
                    lost = True
            if not ended and self.unreadable is None:
                yield Break(self.bytes, "the tar ends without its end mark")

    def _read(self, size: int) -> bytes:
        try:
            data = self._file.read(min(size, self._length))  # a damaged header may claim more than memory holds
        except OSError as error:
            if self.bytes == 0:
                raise
            self.unreadable = f"cannot be read: {error.strerror}"
            return b""
        self._digest.update(data)
        self.bytes += len(data)
        return data


def _parse(block: bytes) -> tuple[tarfile.TarInfo | None, str]:
    try:
        member = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        return None, f"not a tar header ({error})"
    return (member, "") if member.size >= 0 else (None, "not a tar header (negative size)")
