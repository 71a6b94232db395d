"""Reads the files of a CIFAR archive, or of its folder, and no more bytes than a CIFAR archive can have."""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, cast

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.store.regular_file import open_regular

# The published archives hold 186 MB in 9 members; written anew by Python 3 in the format of Python 2, 280 MB.
_MOST_BYTES = 320 << 20
_MOST_MEMBERS = 100
_LARGEST_HEADER = 16 << 10  # bytes; also the largest piece that is skipped at a time
_GZIP = b"\x1f\x8b"


def folder_files(folder: Path, names: Collection[str]) -> dict[str, bytes]:
    """The bytes of some files of a folder, by name; files that are not there are left out.

    Raises:
        ShardUsageError: a file cannot be read.
        ShardDamage: the files are too large.
    """
    files: dict[str, bytes] = {}
    left = _MOST_BYTES
    for name in names:
        try:
            with open(open_regular(folder / name), "rb") as file:
                files[name] = file.read(left + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ShardUsageError(f"{folder / name}: cannot be read: {error.strerror}") from None
        left -= len(files[name])
        if left < 0:
            raise ShardDamage(folder / name, f"is too large: {_too_much()}")
    return files


def archive_files(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """The bytes of some files of a tar, gzipped or not, by name without folder; files that are not there are left out.

    Raises:
        ShardUsageError: the tar cannot be read.
        ShardDamage: it is no tar, or damaged, or too large.
    """
    try:
        descriptor = open_regular(path)
    except OSError as error:
        raise ShardUsageError(f"{path}: cannot be read: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        try:
            zipped = file.peek(len(_GZIP)).startswith(_GZIP)
            stream = _Unzipped(gzip.GzipFile(fileobj=file) if zipped else file)
            files = _members(stream, names)
            stream.check_rest()
        except Exception as error:  # a damaged tar, or a damaged gzip file, may raise anything
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            raise ShardDamage(path, f"cannot be read as a tar, or a gzipped one: {reason}") from None
    return files


def _members(stream: _Unzipped, names: Collection[str]) -> dict[str, bytes]:
    files = {}
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as tar:
        for number, member in enumerate(tar):
            if number == _MOST_MEMBERS:
                raise tarfile.ReadError(f"it has more than {_MOST_MEMBERS} members")
            if member.size < 0:
                raise tarfile.ReadError(f"a member of {member.size} bytes")
            name = member.name.rpartition("/")[2]
            if name in names and member.isreg() and not member.issparse():
                files[name] = stream.content(member)
    return files


class _Unzipped:
    """A file, decompressed, as `tarfile` needs it; it is read no further than `_MOST_BYTES`.

    `tarfile` would read a header into memory however long it claims to be; here it gets no more than a header has.
    """

    def __init__(self, file: IO[bytes] | gzip.GzipFile):
        self._file = file

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int) -> None:
        if offset > _MOST_BYTES:
            raise tarfile.ReadError(_too_much())
        self._file.seek(offset)

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LARGEST_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        if self.tell() + size > _MOST_BYTES:
            raise tarfile.ReadError(_too_much())
        return self._file.read(size)

    def content(self, member: tarfile.TarInfo) -> bytes:
        """The bytes of a member."""
        self.seek(member.offset_data + member.size)
        self.seek(member.offset_data)
        content = self._file.read(member.size)
        if len(content) < member.size:
            raise tarfile.ReadError(f"it ends within {member.name.rpartition('/')[2]}")
        return content

    def check_rest(self) -> None:
        """Read to the end, where gzip compares its checksum."""
        while self.read(_LARGEST_HEADER):
            pass


def _too_much() -> str:
    return f"the files of CIFAR have less than {_MOST_BYTES >> 20} MiB"
