"""A device that does its work later, and a clock that nobody else moves: what waits for what, told without any time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from pipeline.tracking import ledger
from pipeline.training import feed, figures, log_interval


class Clock:
    """Stands still until it is told otherwise; the clock of ledger and figures."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        clock = SimpleNamespace(perf_counter=self, monotonic=self, time=self)
        for module in (ledger, feed, figures, log_interval):
            monkeypatch.setattr(module, "time", clock)

    def __call__(self) -> float:
        return self.now


class SlowDevice:
    """Takes work at once, and does one piece after the other, in seconds of `clock`."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._done = clock()

    def work(self, seconds: float) -> None:
        """Have `seconds` of work done, after all that was given before."""
        self._done = max(self._done, self.clock()) + seconds

    def holding(self, value: float) -> Tensor:
        """A tensor whose value is there once all work so far is done; reading it waits."""
        held = torch.tensor(value).as_subclass(_Later)
        held.device_of, held.ready = self, self._done
        return held

    def wait(self, until: float | None = None) -> None:
        """Have the host wait until then, or until all work so far is done."""
        self.clock.now = max(self.clock.now, self._done if until is None else until)


class _Later(Tensor):
    """What is computed of it is there as late, and has to be waited for by whoever reads it."""

    device_of: SlowDevice
    ready: float

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, arguments: tuple[Any, ...] = (), options: dict[str, Any] | None = None
    ) -> Any:
        of = [each for each in _flat(arguments) if isinstance(each, _Later)]
        last = max(of, key=lambda each: each.ready)
        if function in (Tensor.tolist, Tensor.item, Tensor.__float__, Tensor.__bool__, Tensor.cpu):
            last.device_of.wait(last.ready)
        result = super().__torch_function__(function, types, arguments, options or {})
        if isinstance(result, _Later):
            result.device_of, result.ready = last.device_of, last.ready
        return result


def _flat(values: Any) -> list[Any]:
    return [leaf for each in values for leaf in (_flat(each) if isinstance(each, (list, tuple)) else [each])]
