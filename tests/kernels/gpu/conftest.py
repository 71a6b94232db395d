"""The kernels run on a GPU where there is one, else in Triton's interpreter."""

import os
import sys
import zlib
from typing import Any

import pytest
import torch

INTERPRETED = not torch.cuda.is_available()

if INTERPRETED:
    # Triton decides when a kernel is defined. The variable is set here and during these tests alone, so that no other
    # test, nor a process that it starts, sees it.
    assert "triton" not in sys.modules, "Triton was imported before it could be told to interpret its kernels"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "TRITON_INTERPRET", "1")
        import triton.language as tl
        from triton.runtime import interpreter

        import kernels.gpu.primitives
        import kernels.losses.gpu  # noqa: F401

    # What Triton 3.6 to 3.9 interpret otherwise than a GPU computes: bfloat16, which numpy does not know. They cut off
    # digits where a GPU rounds, and multiply matrices of the integers that hold the bits.
    builder: Any = interpreter.InterpreterBuilder
    convert, dot = interpreter._convert_float, builder.create_dot

    def rounding_convert(values: Any, source: tl.dtype, target: tl.dtype, rounding: Any) -> Any:
        if (source, target) != (tl.float32, tl.bfloat16):
            return convert(values, source, target, rounding)
        return torch.from_numpy(values.copy()).bfloat16().view(torch.uint16).numpy()

    def float_dot(self: Any, a: Any, b: Any, *rest: Any) -> Any:
        if a.dtype.scalar == tl.bfloat16:
            a, b = self.cast_impl(a, tl.float32), self.cast_impl(b, tl.float32)
        return dot(self, a, b, *rest)

    interpreter._convert_float = rounding_convert
    builder.create_dot = float_dot


@pytest.fixture
def device() -> str:
    return "cpu" if INTERPRETED else "cuda"


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    if INTERPRETED:
        monkeypatch.setenv("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def _untuned(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """On a GPU, tests do not measure; each runs with other blocks of those on offer, so that all of them are tested."""
    if not INTERPRETED:
        from triton.runtime.autotuner import Autotuner

        prune, choice = Autotuner.prune_configs, zlib.crc32(request.node.nodeid.encode())

        def one(self: Any, arguments: dict[str, Any]) -> list[Any]:
            fitting = prune(self, arguments)
            return [fitting[choice % len(fitting)]]

        monkeypatch.setattr(Autotuner, "prune_configs", one)
