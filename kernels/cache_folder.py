"""Where compiled kernels are kept: in a folder of this user's alone, from which code can be run."""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

logger = logging.getLogger(__name__)

_NAME = "deps-kernels"

Result = TypeVar("Result")


class CacheRefused(Exception):  # noqa: N818 (named for what it tells)
    """A folder cannot keep compiled kernels: it cannot be written, runs no code, or others can write it. One line."""


def in_own_folder(use: Callable[[Path], Result]) -> Result:
    """Call `use` with this user's own folder for compiled kernels.

    That is `$XDG_CACHE_HOME/deps-kernels`, by default in `~/.cache`; else one for temporary files, since users without
    a home, or with one that cannot be written, are ordinary in containers. One process of a machine says so, in one
    line.

    Args:
        use: raises CacheRefused for a folder that cannot be used after all; the next one is tried.

    Returns:
        What `use` returned for the first folder that it accepted.

    Raises:
        CacheRefused: where every folder is refused.
    """
    refusals: dict[str, None] = {}  # in order, each once
    for place in _places():
        try:
            result = use(own_folder(place))
        except CacheRefused as refusal:
            refusals[str(refusal)] = None
            continue
        if refusals and os.environ.get("LOCAL_RANK", "0") == "0":  # all processes of a machine meet the same
            told = "; ".join(refusals)
            logger.warning(
                "kernels: %s; what is compiled is kept in %s (XDG_CACHE_HOME=FOLDER names another place)", told, place
            )
        return result
    raise CacheRefused("; ".join((*refusals, "XDG_CACHE_HOME=FOLDER names another place")))


def _places() -> Iterator[Path]:
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(cache):  # by the XDG Base Directory Specification, ignored as if it were empty
        cache = os.path.expanduser("~/.cache")  # stays relative for a user without home
    yield Path(cache, _NAME)
    with suppress(OSError):  # there is no folder for temporary files that can be written
        yield Path(tempfile.gettempdir(), f"{_NAME}-{os.geteuid()}")
        # Anybody can have put something under that name before; nobody can under this one.
        last = tempfile.mkdtemp(prefix=f"{_NAME}-")
        atexit.register(shutil.rmtree, last, ignore_errors=True)
        yield Path(last)


def check_place(folder: Path) -> None:
    """Make `folder` where it is missing.

    Raises:
        CacheRefused: where it cannot be made or written, or its file system runs no code.
    """
    if not folder.is_absolute():
        raise CacheRefused(f"{folder}: HOME names no folder")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            raise CacheRefused(f"{folder}: cannot be written")
        if os.statvfs(folder).f_flag & os.ST_NOEXEC:
            raise CacheRefused(f"{folder}: is mounted noexec")
    except OSError as error:
        raise CacheRefused(f"{folder}: {error.strerror}") from None


def own_folder(folder: Path) -> Path:
    """`folder`, made where it is missing, with mode 700.

    Raises:
        CacheRefused: where it cannot be had, or belongs to somebody else.
    """
    check_place(folder)
    try:
        # Both of a link and of where it leads: another user's could lead to a folder of this user's for other things.
        if {folder.lstat().st_uid, folder.stat().st_uid} != {os.geteuid()}:
            raise CacheRefused(f"{folder}: belongs to another user")
        if stat.S_IMODE(folder.stat().st_mode) != 0o700:
            folder.chmod(0o700)
        if _open_to_others(folder.stat()):  # some file systems know no modes
            raise CacheRefused(f"{folder}: cannot be closed to other users")
    except OSError as error:
        raise CacheRefused(f"{folder}: {error.strerror}") from None
    return folder


def own_file(path: Path) -> bool:
    """Whether `path` is a regular file that nobody but this user can have written."""
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not _open_to_others(found)


def _open_to_others(found: os.stat_result) -> bool:
    return bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))
