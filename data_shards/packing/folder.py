"""The folder inside the target in which a data set is packed: locked, kept after a kill, emptied into it at the end.

Nothing outside of the target is written, so that it may be whatever takes files: a new folder, one that is empty, a
link to one, a mount point. What makes a pack of it is the manifest, which comes last.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.packing.lock import LOCK_NAMES, locked
from data_shards.packing.trial import try_out
from data_shards.store.durable_file import WriteError
from data_shards.store.manifest import MANIFEST_NAME, read_manifest

_NAME = ".packing"
_FRESH = {"lost+found"}  # what a file system that was just made has at its top


class PackingFolder:
    """`OUT/.packing`: `shards` has what is to lie in `OUT`, `records` tells what of it is finished."""

    def __init__(self, out: Path):
        self.out = out
        self.root = out / _NAME
        self.shards, self.records = self.root / "shards", self.root / "records"

    def prepare(self, splits: list[str]) -> None:
        """Makes what folders are missing, and clears away what is neither a shard nor a record."""
        with writing(self.root):
            for split in self.moved():
                os.rename(self.out / split, self.shards / split)
            self._clear({self.shards, self.records})
            self.records.mkdir(exist_ok=True)
            for split in splits:
                (self.shards / split).mkdir(parents=True, exist_ok=True)

    def keep_only(self, files: set[Path]) -> None:
        """Removes from `shards` all files but these: left-overs of another packing into the same place."""
        for path in list(self.shards.rglob("*")):
            if path.is_file() and path not in files:
                path.unlink()
        for folder in list(self.shards.iterdir()):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def publish(self) -> None:
        """Moves what is in `shards` to where it belongs. From the last step on it is a pack, whatever happens."""
        with writing(self.out):
            for path in sorted(self.shards.iterdir(), key=lambda path: path.name == MANIFEST_NAME):
                os.rename(path, self.out / path.name)
        self.remove()

    def moved(self) -> set[str]:
        """The splits that an attempt which was killed while it published has moved already."""
        try:
            manifest = read_manifest(self.shards)
        except (ShardUsageError, ShardDamage):  # it did not get so far, or was killed as it wrote this
            return set()
        return {split for split in manifest.splits if not (self.shards / split).exists()}

    def remove(self) -> None:
        """Removes what is in the folder. No harm is done where some of it stays: it is no part of what is published."""
        with suppress(OSError):
            self._clear(set())

    def _clear(self, kept: set[Path]) -> None:
        for path in self.root.iterdir():
            if path not in kept and path.name not in LOCK_NAMES:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def packing_folder(out: Path) -> Iterator[PackingFolder]:
    """The packing folder of `out`, locked against other processes, in a place that was tried out.

    Raises ShardUsageError if another process is packing there, or the place cannot be packed into; what was made of it
    is removed then.
    """
    folder = PackingFolder(out)
    with ExitStack() as stack:
        for path in [path for path in (out, *out.parents) if not os.path.exists(path)][::-1]:
            stack.callback(_remove_if_empty, path)
        try:
            stack.enter_context(locked(folder.root))
            try_out(out, folder.root / "trial")
        except OSError as error:
            reason = error.strerror if isinstance(error, WriteError) else f"cannot be written: {error.strerror}"
            raise ShardUsageError(f"{out}: {reason}") from None
        yield folder


def _remove_if_empty(path: Path) -> None:
    with suppress(OSError):
        path.rmdir()


def holds_pack(out: Path) -> bool:
    """Whether a whole data set is packed in `out`, as opposed to nothing, or what an attempt has left there.

    Raises ShardUsageError for a place with anything else in it, and for one that is no folder.
    """
    try:
        found = set(os.listdir(out))
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        raise ShardUsageError(f"{out} is a file, not a folder to pack into") from None
    except OSError as error:
        raise ShardUsageError(f"{out}: cannot be listed: {error.strerror}") from None
    others = found - _FRESH - {_NAME} - PackingFolder(out).moved()
    if (out / MANIFEST_NAME).exists():  # asked in the end, as another process may be publishing
        return True
    if others:
        raise ShardUsageError(f"{out} is not empty and holds no packed data set: choose another folder")
    return False


def clear_left_over(out: Path) -> None:
    """Removes the packing folder of a pack that was killed when `out` was complete already."""
    folder = PackingFolder(out)
    if folder.root.exists():
        with suppress(ShardUsageError, OSError), locked(folder.root):
            folder.remove()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tells a failure to write in one line. What is finished is kept for the next attempt."""
    try:
        yield
    except OSError as error:
        if isinstance(error, WriteError):
            path, reason = Path(error.filename), error.strerror
        else:
            reason = f"cannot be written: {error.strerror or error}"
        raise ShardDamage(path, f"{reason}; the finished shards are kept: run it again to go on") from None
