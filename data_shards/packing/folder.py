"""The folder in which a data set is packed: it lies in the target, is locked, and stays there after a kill.

Nothing is written outside of the target, which may thus be anything that takes files: a new folder, an empty one, a
link to one, a mount point. When all is packed it is moved into the target, the manifest last: with it, the target is a
packed data set.
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
_FRESH = {"lost+found"}  # the content of a new file system


class PackingFolder:
    """`OUT/.packing`, which consists of two folders.

    Attributes:
        shards: what will be moved to `OUT`.
        records: which of the shards are finished.
    """

    def __init__(self, out: Path):
        self.out = out
        self.root = out / _NAME
        self.shards, self.records = self.root / "shards", self.root / "records"

    def prepare(self, splits: list[str]) -> None:
        """Make the folders that are missing, and remove what is neither a shard nor a record.

        Raises:
            ShardDamage: that cannot be done.
        """
        with writing(self.root):
            for split in self.moved():
                os.rename(self.out / split, self.shards / split)
            self._clear({self.shards, self.records})
            self.records.mkdir(exist_ok=True)
            for split in splits:
                (self.shards / split).mkdir(parents=True, exist_ok=True)

    def keep_only(self, files: set[Path]) -> None:
        """Remove all other files from `shards`: they were left there by another attempt to pack something."""
        for path in list(self.shards.rglob("*")):
            if path.is_file() and path not in files:
                path.unlink()
        for folder in list(self.shards.iterdir()):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def publish(self) -> None:
        """Move what is in `shards` to `OUT`, the manifest last. Then `OUT` is a packed data set, whatever happens.

        Raises:
            ShardDamage: something cannot be moved.
        """
        with writing(self.out):
            for path in sorted(self.shards.iterdir(), key=lambda path: path.name == MANIFEST_NAME):
                os.rename(path, self.out / path.name)
        self.remove()

    def moved(self) -> set[str]:
        """The splits that are in `OUT` already, as an earlier attempt was killed while it published."""
        try:
            manifest = read_manifest(self.shards)
        except (ShardUsageError, ShardDamage):  # it did not get so far, or was killed while it wrote the manifest
            return set()
        return {split for split in manifest.splits if not (self.shards / split).exists()}

    def remove(self) -> None:
        """Remove what is in the folder. Where some of it stays, that does no harm: it is no part of the data set."""
        with suppress(OSError):
            self._clear(set())

    def _clear(self, kept: set[Path]) -> None:
        for path in self.root.iterdir():
            if path not in kept and path.name not in LOCK_NAMES:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextmanager
def packing_folder(out: Path) -> Iterator[PackingFolder]:
    """The packing folder of `out`, locked against other processes, on a file system that was tried out.

    Raises:
        ShardUsageError: another process is packing there, or the place cannot be packed into. Folders that were made
            for it are removed again.
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
    """Whether `out` is a packed data set; if not, it is empty, or has in it what an unfinished attempt has left.

    Raises:
        ShardUsageError: there is anything else in it, or it is no folder.
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
    if (out / MANIFEST_NAME).exists():  # looked at last, as another process may be publishing at this moment
        return True
    if others:
        raise ShardUsageError(f"{out} is not empty and holds no packed data set: choose another folder")
    return False


def clear_left_over(out: Path) -> None:
    """Remove the packing folder where an attempt was killed when `out` was complete already."""
    folder = PackingFolder(out)
    if folder.root.exists():
        with suppress(ShardUsageError, OSError), locked(folder.root):
            folder.remove()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within this context, a failure to write is told in one line. Finished shards are kept for the next attempt.

    Raises:
        ShardDamage: `path`, or the file that a WriteError names, cannot be written.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, WriteError):
            path, reason = Path(error.filename), error.strerror
        else:
            reason = f"cannot be written: {error.strerror or error}"
        raise ShardDamage(path, f"{reason}; the finished shards are kept: run it again to go on") from None
