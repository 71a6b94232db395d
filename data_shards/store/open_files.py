"""Files that stay open from one reading to the next, up to a limit for the whole process."""

from __future__ import annotations

import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from data_shards.store.regular_file import open_regular

_MOST = 512


class OpenFile:
    """A file that is open as long as anybody holds this object, so that nobody closes it while others read."""

    def __init__(self, path: Path | str):
        self.descriptor = open_regular(path)

    def __del__(self):
        if hasattr(self, "descriptor"):  # otherwise it could not be opened
            os.close(self.descriptor)


class OpenFiles:
    """The files of one owner, by number. What is open is read on, even where another file takes its name.

    All owners and threads of a process together have `most_open()` files; the least recently used one is closed first.
    """

    _recent: ClassVar[OrderedDict[tuple[int, int], OpenFile]] = OrderedDict()  # by owner and number
    _lock: ClassVar = threading.RLock()  # reentrant: the garbage collector may end an owner while its thread holds it

    def get(self, number: int, place: Callable[[int], Path | str]) -> OpenFile:
        """The file of a number; it is opened at `place(number)` if it is not open yet.

        Raises:
            OSError: it cannot be opened (see `open_regular`).
        """
        key = (id(self), number)
        with self._lock:
            file = self._recent.get(key)
            if file is not None:
                self._recent.move_to_end(key)
                return file
        file = OpenFile(place(number))
        with self._lock:
            file = self._recent.setdefault(key, file)  # another thread may have been faster
            while len(self._recent) > most_open():
                self._recent.popitem(last=False)
        return file

    def __del__(self):
        with self._lock:
            for key in [key for key in self._recent if key[0] == id(self)]:
                del self._recent[key]


def most_open() -> int:
    """How many files may stay open: half of the process's limit; the rest is for sockets, pipes and libraries."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if limit == resource.RLIM_INFINITY else max(min(limit // 2, _MOST), 1)
