"""Takes the next answer from the reader processes while the one before it is used.

An answer lies in shared memory, and to get at it is a conversation with the process that read it: five messages, each
of which waits until that process, busy with batches to come, has a processor. The consumer would wait for all of them,
a millisecond on a quiet machine and several on a busy one, at every step.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")


def taken_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, each taken in a thread while the one before it is used; one more of them exists at a time.

    What `items` raises is raised in its turn. Once this is closed, `items` is dropped with the next item that it gives.
    """
    asked: SimpleQueue[bool] = SimpleQueue()
    taken: SimpleQueue[tuple[Item] | Exception | None] = SimpleQueue()
    # A daemon: a reader that hangs must not keep a process from ending.
    threading.Thread(target=_take, args=(items, asked, taken), name="taking-ahead", daemon=True).start()
    del items  # it is the thread's, which lets go of it
    asked.put(True)
    try:
        while (found := taken.get()) is not None:
            if isinstance(found, Exception):
                raise found
            asked.put(True)
            yield found[0]
    finally:
        asked.put(False)


def _take(items: Iterator[Item], asked: SimpleQueue[bool], taken: SimpleQueue[tuple[Item] | Exception | None]) -> None:
    while asked.get():
        try:
            taken.put((next(items),))
        except StopIteration:
            taken.put(None)
        except Exception as error:
            taken.put(error)
