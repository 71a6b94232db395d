"""Signs of life of a run's processes: a lost one is named, and nobody waits for it for ever.

A collective operation does not say whose absence ended it; and where a process hangs, or its machine is gone, it does
not end for many minutes. So each process counts up in the group's store, in a thread of its own, and watches the
others' counts.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator

import torch.distributed as dist

BEAT_SECONDS = 1.0
# The most that counts as silence between two looks: for longer this process did not run itself, as when the whole run,
# or its machine, was suspended.
_AWAKE = 2 * BEAT_SECONDS
# Silence after which a peer is blamed for a collective operation that has failed.
_BLAMED_AFTER = 3 * BEAT_SECONDS
# The rank that serves the store, unless the launcher does: where it is silent, so is the store.
_STORE_OF = 0


class Liveness:
    """This process's sign of life, and its watch over those of the others.

    Args:
        store: of the process group; a connection of its own to it is made.
        host: name of this machine, for the others' messages.
        limit: seconds without a sign of life after which a process is given up, and this one ends too.
    """

    def __init__(self, store: dist.Store, rank: int, world: int, host: str, limit: float) -> None:
        own: dist.Store = store.clone()  # pyright: ignore[reportAttributeAccessIssue] (not in its stub)
        self._store = dist.PrefixStore("alive", own)
        self._rank, self._limit = rank, limit
        self._others = [other for other in range(world) if other != rank]
        self._beats = 0
        self._looks = 0  # that the store has answered
        self._unanswered = 0.0  # seconds since the last of them
        # The last count of each, and the seconds for which it has not changed.
        self._heard: dict[int, tuple[bytes, float]] = dict.fromkeys(self._others, (b"", 0.0))
        self._hosts: dict[int, str] = {}
        self._store.set(f"host/{rank}", host)
        self._leaving = threading.Event()
        # Two threads, as an answer of the store may never come: the one that judges does not ask it.
        for work in (self._keep_in_touch, self._judge):
            threading.Thread(target=work, name="liveness", daemon=True).start()

    def stop(self) -> None:
        """Watch no more: from now on the others may leave."""
        self._leaving.set()

    def blame(self) -> str | None:
        """What to tell of the peers whose loss may have caused a failure; None where all are alive.

        Takes a few seconds: nobody is given up after one missed beat, nor found alive by one that came before the
        failure and is seen after it.
        """
        deadline = time.monotonic() + self._limit
        looks, first = self._looks, None
        while not (lost := self._silent(_BLAMED_AFTER)) and time.monotonic() < deadline:
            beats = {other: beat for other, (beat, _) in self._heard.items()}
            if first is None:
                first = beats if self._looks > looks else None
            elif all(beats[other] != first[other] for other in self._others):
                return None
            time.sleep(BEAT_SECONDS / 4)
        return self._obituary(lost) if lost else None

    def tells(self) -> bool:
        """Whether this process is the one to tell of a loss: the first of those that are alive."""
        silent = self._silent(_BLAMED_AFTER)
        return all(other in silent for other in self._others if other < self._rank)

    def part(self) -> None:
        """Leave because others are lost; each process calls it once it knows whom to blame.

        The one that serves the store waits for those that are alive, but not for ever: without the store they would
        take it for lost as well.
        """
        with contextlib.suppress(dist.DistError):
            if self._rank != _STORE_OF:
                if _STORE_OF not in self._silent(_BLAMED_AFTER):
                    self._store.set(f"parted/{self._rank}", "")
                return
            deadline = time.monotonic() + self._limit
            while (alive := self._not_parted()) and time.monotonic() < deadline and not self._store.check(alive):
                time.sleep(BEAT_SECONDS / 4)

    def _not_parted(self) -> list[str]:
        """Where those that are alive say that they leave."""
        silent = self._silent(_BLAMED_AFTER)
        return [f"parted/{other}" for other in self._others if other not in silent]

    def _keep_in_touch(self) -> None:
        with contextlib.suppress(dist.DistError):  # the store is gone, which `_silent` sees
            for seconds in self._ticks():
                self._beat()
                self._look(seconds)

    def _judge(self) -> None:
        looks = 0
        for seconds in self._ticks():
            self._unanswered = self._unanswered + seconds if self._looks == looks else 0.0
            looks = self._looks
            lost = self._silent(self._limit)
            if lost and not self._leaving.is_set():
                # The main thread may be deep in an operation that waits for the lost one, and cannot be interrupted.
                if self.tells():
                    print(f"pipeline.train: {self._obituary(lost)}", file=sys.stderr, flush=True)
                self.part()
                os._exit(1)

    def _ticks(self) -> Iterator[float]:
        """Once a beat until this process leaves: the seconds since the last one, as far as it was awake."""
        last = time.monotonic()
        while not self._leaving.wait(BEAT_SECONDS):
            now = time.monotonic()
            yield min(now - last, _AWAKE)
            last = now

    def _beat(self) -> None:
        self._beats += 1
        self._store.set(f"beat/{self._rank}", str(self._beats))

    def _look(self, seconds: float) -> None:
        """See who has beaten in the `seconds` since the last look."""
        for other in self._others:
            known, silence = self._heard[other]
            beats = self._store.get(f"beat/{other}") if self._store.check([f"beat/{other}"]) else known
            self._heard[other] = (beats, 0.0 if beats != known else silence + seconds)
            if beats and other not in self._hosts:
                self._hosts[other] = self._store.get(f"host/{other}").decode()
        self._looks += 1

    def _silent(self, seconds: float) -> list[int]:
        # By the last look: while the store does not answer, nothing can be said of the others.
        lost = [other for other, (_, silence) in self._heard.items() if silence > seconds]
        if not lost and self._rank != _STORE_OF and self._unanswered > seconds:
            return [_STORE_OF]
        return lost

    def _obituary(self, lost: list[int]) -> str:
        names = ", ".join(f"{rank} on {self._hosts.get(rank, 'a host not heard of yet')}" for rank in lost)
        return (
            f"process{'es' if len(lost) > 1 else ''} {names}: no sign of life any more (killed, or hanging); the run "
            "ends here; continue from its last checkpoint with --resume"
        )
