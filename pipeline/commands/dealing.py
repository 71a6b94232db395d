"""Evaluations of a search, dealt to the processes of a launcher: each subnet is measured by one of them alone.

Each is dealt a few at a time, which it measures together (`evaluation.subnet_tree`); none depends on the others.

So what is measured does not depend on how many there are. The main process searches; the others serve it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pipeline.processes.group import Processes

# A few subnets on one kind of images: top-1 of each, per cent.
Measure = Callable[[str, Sequence[str]], list[float]]


class Dealer:
    """Deals to `processes`, each of which measures by its own `measure` (images, subnets).

    Args:
        at_once: how many subnets each is dealt at most; as many are lost where all are killed.
    """

    def __init__(self, processes: Processes, measure: Measure, at_once: int) -> None:
        self._processes = processes
        self._measure = measure
        self._at_once = at_once

    def deal(self, images: str, subnets: Sequence[str]) -> Iterator[tuple[str, float]]:
        """On the main process: each subnet with its top-1, as they come; in their order."""
        dealt = self._processes.world * self._at_once
        for first in range(0, len(subnets), dealt):
            hand = list(subnets[first : first + dealt])
            yield from zip(hand, self._together([(images, hand)]), strict=True)

    def end(self) -> None:
        """On the main process: let the others go."""
        self._together([None])

    def serve(self) -> None:
        """On the others: measure what they are dealt, until the end."""
        while self._together([]):
            pass

    def _together(self, dealt: list[tuple[str, list[str]] | None]) -> list[float]:
        [hand] = self._processes.gathered(dealt)
        if hand is None:
            return []
        images, subnets = hand
        rank, world = self._processes.rank, self._processes.world
        mine = subnets[rank * len(subnets) // world : (rank + 1) * len(subnets) // world]
        return self._processes.gathered(self._processes.together(lambda: self._measure(images, mine) if mine else []))
