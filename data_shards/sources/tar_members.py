"""Finds the places of the files in an uncompressed tar, or in a tar within it, in one pass over the headers."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from data_shards.errors import ShardDamage
from data_shards.store.regular_file import open_regular


class TarMember(NamedTuple):
    """A file in a tar.

    Attributes:
        offset: where its bytes begin in the outermost file.
        size: how many there are.
    """

    name: str
    offset: int
    size: int


def tar_members(path: Path, within: TarMember | None = None) -> Iterator[TarMember]:
    """The files in a tar.

    Args:
        path: of the tar.
        within: a member of it that is a tar itself, and whose files are wanted instead.

    Raises:
        ShardDamage: the tar is cut, or a header is damaged (where Python's own reader may just end early), or a member
            is neither a file nor a folder.
    """
    place = f"{path}: {within.name}" if within else str(path)
    try:
        with open(open_regular(path), "rb", buffering=0) as file:
            start, size = (within.offset, within.size) if within else (0, os.fstat(file.fileno()).st_size)
            yield from _members(_Part(file.fileno(), start, size), place)
    except OSError as error:
        raise ShardDamage(place, f"cannot be read: {error.strerror or error}") from None


def _members(part: _Part, place: str) -> Iterator[TarMember]:
    try:
        with tarfile.open(fileobj=part, mode="r:", bufsize=tarfile.BLOCKSIZE, encoding="utf-8") as tar:
            while (member := tar.next()) is not None:
                if member.isreg() and not member.issparse():
                    if member.offset_data + member.size > part.size:
                        raise ShardDamage(place, "the tar is cut in this member", member.name, member.offset_data)
                    yield TarMember(member.name, part.start + member.offset_data, member.size)
                elif not member.isdir():
                    raise ShardDamage(place, "is no ordinary file (a link?)", member.name, member.offset)
            end = tar.offset
    except tarfile.TarError as error:
        if part.size == 0 or not str(error).startswith("unexpected end"):
            raise ShardDamage(place, f"not a whole, uncompressed tar: {error}") from None
        raise ShardDamage(place, "the tar is cut: it ends within a member") from None
    # Python's reader takes anything that is no header for the end: it would not notice a cut between two members.
    mark = part.at(end, tarfile.BLOCKSIZE)
    if len(mark) < tarfile.BLOCKSIZE:
        raise ShardDamage(place, "the tar is cut: it ends without its end mark", offset=end)
    if any(mark):
        raise ShardDamage(place, "no tar header where one should be", offset=end)


class _Part(io.RawIOBase):
    """Part of a file, as a file with a position of its own."""

    def __init__(self, descriptor: int, start: int, size: int):
        self.start, self.size = start, size
        self._descriptor, self._position = descriptor, 0

    def at(self, position: int, size: int) -> bytes:
        return os.pread(self._descriptor, max(min(size, self.size - position), 0), self.start + position)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self.at(self._position, self.size if size is None or size < 0 else size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        return self._position

    def tell(self) -> int:
        return self._position
