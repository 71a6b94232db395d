"""Kernels that are named instead of launched, so that launches can be counted where there is no GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from triton.runtime.autotuner import Autotuner
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction


@contextmanager
def named_instead_of_launched(tell: Callable[[str], None]) -> Iterator[None]:
    """Within it, a launch of a Triton kernel calls `tell` with "module.function", and computes nothing."""

    def run(self: Any, *_: Any, **__: Any) -> None:
        function = self.base_fn if isinstance(self, Autotuner) else self.fn
        tell(f"{function.__module__}.{function.__name__}")

    with ExitStack() as patches:
        for kind in (Autotuner, JITFunction, InterpretedFunction):
            patches.enter_context(mock.patch.object(kind, "run", run))
        yield
