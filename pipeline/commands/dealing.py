"""Evaluations of a search, dealt to the processes of a launcher: each subnet is measured by one of them alone.

So what is measured does not depend on how many there are. The main process searches; the others serve it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pipeline.processes.group import Processes

# One subnet on one kind of images: top-1, per cent.
Measure = Callable[[str, str], float]


class Dealer:
    """Deals to `processes`, each of which measures by its own `measure` (images, subnet)."""

    def __init__(self, processes: Processes, measure: Measure) -> None:
        self._processes = processes
        self._measure = measure

    def deal(self, images: str, subnets: Sequence[str]) -> Iterator[tuple[str, float]]:
        """On the main process: each subnet with its top-1, as they come; in their order."""
        for first in range(0, len(subnets), self._processes.world):
            hand = list(subnets[first : first + self._processes.world])
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
        mine = subnets[self._processes.rank : self._processes.rank + 1]
        return self._processes.gathered(
            self._processes.together(lambda: [self._measure(images, each) for each in mine])
        )
