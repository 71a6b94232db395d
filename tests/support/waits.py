"""Counts, on any machine, what would make a host wait for its accelerator: a stand-in for CUDA's own debugging mode.

A CPU waits for nothing. So what is counted are the operations that read a value back, that make a tensor whose size
depends on values, that make one of Python's numbers, or that move one without saying that it may happen later.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

REPOSITORY = Path(__file__).parents[2]

# By the name under which torch dispatches them, also where another operation is made of them: `bool(x)`, `x.item()`,
# `float(x)` read a scalar; `torch.tensor(…)` lifts a fresh one.
_READ_A_VALUE = {"_local_scalar_dense", "equal", "is_nonzero"}
_SIZED_BY_VALUES = {"nonzero", "nonzero_numpy", "masked_select", "_unique2", "unique_dim", "unique_consecutive"}
_SIZED_BY_VALUES |= {"bincount", "repeat_interleave"}
_OF_NUMBERS = {"lift_fresh", "lift_fresh_copy"}
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
# What never gets to the dispatcher, or not on a CPU.
_METHODS = {"tolist", "numpy", "cpu", "__array__", "to", "cuda"}


class Waits:
    """Within it, `found` grows by a line for each wait (what it is, and where of ours), `moved` for each transfer."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.moved: list[str] = []
        self._modes = _Dispatched(self), _Called(self)

    def __enter__(self) -> Waits:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)

    def note(self, what: str) -> None:
        self.found.append(f"{what} at {_place()}")


class _Dispatched(TorchDispatchMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name in _READ_A_VALUE | _SIZED_BY_VALUES | _OF_NUMBERS:
            self.waits.note(name)
        if name in _INDEXED and any(_is_mask(each) for each in arguments[1]):
            self.waits.note(f"{name} by a mask")
        return function(*arguments, **(options or {}))


class _Called(TorchFunctionMode):
    def __init__(self, waits: Waits) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        name = getattr(function, "__name__", "")
        if name in _METHODS and arguments and isinstance(arguments[0], Tensor):
            device = options.get("device", arguments[1] if len(arguments) > 1 else None)
            if name in ("to", "cuda") and isinstance(device, torch.device | str) and _is_ours(_frames()[-1]):
                self.waits.moved.append(_place())
                if not options.get("non_blocking"):
                    self.waits.note(f"{name}({device})")
            elif name not in ("to", "cuda"):
                self.waits.note(name)
        return function(*arguments, **options)


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def _frames() -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_stack() if frame.filename != __file__]


def _is_ours(frame: traceback.FrameSummary) -> bool:
    path = Path(frame.filename)
    return path.is_relative_to(REPOSITORY) and "site-packages" not in path.parts


def _place() -> str:
    """The innermost line of the project on the stack."""
    last = [frame for frame in _frames() if _is_ours(frame)][-1]
    return f"{Path(last.filename).relative_to(REPOSITORY)}:{last.lineno}"
