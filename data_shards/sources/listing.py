"""Lists the image files of a split, in a folder or in a tar, in mixed order; files are read when they are asked for."""

from __future__ import annotations

import hashlib
import os
import stat
from array import array
from itertools import pairwise
from pathlib import Path

import numpy as np

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.randomness import DataSetDraws, Purpose
from data_shards.sources.file_names import as_name, as_text, printable
from data_shards.sources.tar_members import TarMember
from data_shards.store.regular_file import open_regular


class Listing:
    """Image files below one folder, or in one tar. It takes some 150 bytes of memory for each.

    Files are added by `add_file` or `add_member`; then `mix` puts them into their final order, and all other methods go
    by positions in that.

    Args:
        root: the folder or the tar.
        classes: class names by label.

    Raises:
        ShardUsageError: the tar cannot be read.
    """

    def __init__(self, root: Path, classes: tuple[str, ...]):
        self.root, self.classes = root, classes
        self._paths: list[str] = []  # of the files below the folder (`as_text`), or names of the members
        self._added = array("q")  # the same columns, for one file after the other
        self._columns = np.empty((0, 4), np.int64)  # label, offset, size, time of the last change (ns)
        self._tar: int | None = None
        self._tar_modified = 0
        if root.is_file():
            try:
                self._tar = open_regular(root)
                self._tar_modified = os.fstat(self._tar).st_mtime_ns
            except OSError as error:
                raise ShardUsageError(f"{root}: cannot be read: {error.strerror}") from None

    def __del__(self):
        if getattr(self, "_tar", None) is not None:
            os.close(self._tar)  # type: ignore[arg-type]

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def labels(self) -> np.ndarray:
        """The label of each file: int64 [files]."""
        return self._columns[:, 0]

    def add_file(self, entry: os.DirEntry[str], label: int) -> None:
        """Add a file below the folder.

        Raises:
            ShardUsageError: it is not a regular file, or a link that leads nowhere.
        """
        try:
            status = entry.stat()
        except OSError as error:
            raise ShardUsageError(f"{entry.path}: cannot be read: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            raise ShardUsageError(f"{entry.path}: is not a regular file")
        below = as_text(entry.path[len(os.path.join(self.root, "")) :])
        self._add(below, label, 0, status.st_size, status.st_mtime_ns)

    def add_member(self, member: TarMember, label: int) -> None:
        """Add a member of the tar."""
        self._add(member.name, label, member.offset, member.size, self._tar_modified)

    def _add(self, path: str, label: int, offset: int, size: int, modified: int) -> None:
        self._paths.append(path)
        self._added.extend((label, offset, size, modified))

    def mix(self, seed: int) -> None:
        """Put the files into a random order, which follows from `seed` and their keys.

        Raises:
            ShardUsageError: two files have the same key.
        """
        self._columns = np.array(self._added, np.int64).reshape(-1, 4)
        self._added = array("q")
        keys = [self.key(position) for position in range(len(self))]
        ordered = sorted(range(len(keys)), key=keys.__getitem__)
        for one, other in pairwise(ordered):
            if keys[one] == keys[other]:
                raise ShardUsageError(f"{self.name(one)} occurs twice (the other: {self.name(other)})")
        mixed = DataSetDraws(np.arange(len(ordered)), seed).order(Purpose.FILE_ORDER)
        order = np.array(ordered, np.int64)[mixed]
        self._paths = [self._paths[position] for position in order.tolist()]
        self._columns = self._columns[order]

    def key(self, position: int) -> str:
        """CLASS/FILE: the same whether the file lies in a folder or in a tar."""
        return f"{self.classes[self._columns[position, 0]]}/{self._paths[position].rpartition('/')[2]}"

    def name(self, position: int) -> str:
        """What messages call the file."""
        return printable(f"{as_text(self.root)}{'/' if self._tar is None else ': '}{self._paths[position]}")

    def digest(self) -> str:
        """A hash of all keys and sizes: it tells one data set from another, wherever it lies."""
        digest = hashlib.sha256()
        for position in sorted(range(len(self)), key=self.key):
            digest.update(f"{self.key(position)} {self._columns[position, 2]}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]

    def identity(self, positions: np.ndarray) -> bytes:
        """Bytes that change when a file at these positions does: its key, its size or its time."""
        lines = [
            f"{self.key(position)} {self._columns[position, 2]} {self._columns[position, 3]}"
            for position in positions.tolist()
        ]
        return "\n".join(lines).encode(errors="surrogateescape")

    def read(self, position: int) -> bytes:
        """A file's bytes.

        Raises:
            ShardDamage: it cannot be read, or has another size than when it was listed.
        """
        offset, size = self._columns[position, 1:3].tolist()
        try:
            if self._tar is not None:
                file = os.pread(self._tar, size, offset)
            else:
                path = self.root / as_name(self._paths[position])
                with open(open_regular(path), "rb", buffering=0) as opened:
                    file = opened.read()
        except OSError as error:
            raise ShardDamage(self.name(position), f"cannot be read: {error.strerror}") from None
        if len(file) != size:
            raise ShardDamage(
                self.name(position), f"has {len(file)} bytes now; it had {size} when the images were listed"
            )
        return file
