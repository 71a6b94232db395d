"""How often a device is asked to compute."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class Launches(TorchDispatchMode):
    """Counts what torch computes, without views and allocations, and what a backend launches itself."""

    def __init__(self) -> None:
        super().__init__()
        self.of_torch: list[str] = []
        self.of_backend = 0
        self._within = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_view = any(each.alias_info and not each.alias_info.is_write for each in func._schema.returns)
        makes_memory = "empty" in str(func) or func is torch.ops.aten.fill_.Scalar  # with NaN, in these tests
        if not (self._within or is_view or makes_memory):
            self.of_torch.append(str(func))
        return func(*args, **(kwargs or {}))

    def counted(self, launch: Callable[..., Any]) -> Callable[..., Any]:
        """`launch`, which counts as one, whatever it does itself."""

        def counting(*arguments: Any, **options: Any) -> Any:
            self.of_backend += 1
            self._within = True
            try:
                return launch(*arguments, **options)
            finally:
                self._within = False

        return counting


@contextmanager
def counted(backend: object, name: str) -> Iterator[Launches]:
    """Count from here on; `backend` launches by its method `name`."""
    launches = Launches()
    with pytest.MonkeyPatch.context() as patch, launches:
        patch.setattr(backend, name, launches.counted(getattr(backend, name)))
        yield launches


Counting = Callable[[], AbstractContextManager[Launches]]
