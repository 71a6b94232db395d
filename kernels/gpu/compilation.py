"""Triton's kernels compiled without a GPU: launches are recorded, and what they need is compiled for any architecture.

Triton compiles a kernel once for all launches that agree in data types, constants, options and what is known of the
addresses; its own binder tells what that is. Only it knows when a launch would compile anew, so it is asked.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime import driver
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction
from triton.tools.disasm import get_sass

from kernels.recorded import Code, Launch, Request

WARP_THREADS = 32


class _AbsentDriver:
    """Enough of a driver to tell launches apart, not to make them."""

    DEVICE = "absent"  # beside the devices for which Triton has compiled already

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 90, WARP_THREADS)

    def get_current_device(self) -> str:
        return self.DEVICE

    def get_current_stream(self, device: str) -> int:
        return 0


@contextmanager
def recorded(every_choice: bool = False) -> Iterator[list[Launch]]:
    """Launches within this context, in a list that grows; none is made, on whatever device the tensors are.

    Args:
        every_choice: record a launch with each choice of block sizes that fits; else with the first.

    Raises:
        RuntimeError: where Triton was told to interpret (TRITON_INTERPRET=1): then nothing is compiled.
    """
    if knobs.runtime.interpret:
        raise RuntimeError("Triton interprets its kernels (TRITON_INTERPRET=1): there is nothing to compile")
    launches: list[Launch] = []
    requested: list[tuple[str, dict[str, Any]]] = []
    run = JITFunction.run
    choice = 0

    def keep(*, key: str, compile: dict[str, Any], **_: Any) -> bool:  # noqa: A002 (Triton's name)
        requested.append((key, compile))
        return True  # do not compile

    def record(self: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> None:
        known: Any = run(self, *arguments, grid=grid, warmup=True, **options)
        if known is None:
            known = _request(self, *requested.pop())
            compiled, *_ = self.device_caches[_AbsentDriver.DEVICE]
            compiled[known.key] = known  # by which Triton knows that it need not compile again
        given = dict(zip(self.arg_names, arguments, strict=False)) | options
        launches.append(_launch(self, given, grid, choice, known))

    def choose(self: Any, *arguments: Any, **options: Any) -> None:
        nonlocal choice
        self.nargs = dict(zip(self.arg_names, arguments, strict=False))
        fitting = self.prune_configs(options)
        for choice, config in enumerate(fitting if every_choice else fitting[:1]):  # noqa: B007 (`record` reads it)
            self.fn.run(*arguments, **options, **config.all_kwargs())
        choice = 0

    with (
        patch.object(driver, "_active", _AbsentDriver()),
        patch.object(knobs.runtime, "jit_cache_hook", keep),
        patch.object(JITFunction, "run", record),
        patch.object(Autotuner, "run", choose),
    ):
        yield launches


def compiled(request: Request, capability: int) -> Code:
    """The code for GPUs of a compute capability, as 90 for 9.0. What Triton has in its cache is not compiled again."""
    source: Any = ASTSource(request.function, request.signature, request.constants, request.attributes)
    with patch.object(driver, "_active", _AbsentDriver()):
        kernel: Any = triton.compile(source, GPUTarget("cuda", capability, WARP_THREADS), dict(request.options))
    registers, stack = _resources(kernel.asm["cubin"])
    return Code(kernel.asm["ptx"], kernel.asm["cubin"], registers, stack, kernel.metadata.shared)


def assembly(code: Code) -> str:
    """The machine's instructions, a line each, with a label before each that is jumped to."""
    told: Any = get_sass(code.cubin)
    return told


def _request(function: JITFunction, key: str, asked: Mapping[str, Any]) -> Request:
    options = {name: asked[name] for name in ("num_warps", "num_ctas", "num_stages", "enable_fp_fusion")}
    return Request(function, key, asked["signature"], asked["constants"], asked["configs"][0], options)


def _launch(function: Any, given: Mapping[str, Any], grid: Any, choice: int, request: Request) -> Launch:
    tensors = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)}
    programs: Any = grid(dict(given)) if callable(grid) else grid
    return Launch(
        kernel=f"{function.__module__.removeprefix('kernels.').removeprefix('gpu.')}.{function.__name__}",
        choice=choice,
        values={name: given[name] for name in function.arg_names if name not in tensors},
        shapes={name: tuple(value.shape) for name, value in tensors.items()},
        element_bytes={name: value.element_size() for name, value in tensors.items()},
        grid=tuple(programs),
        request=request,
    )


def _resources(cubin: bytes) -> tuple[int, int]:
    """Registers and bytes of stack of a thread, as NVIDIA's own tool reads them."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        told = _output([knobs.nvidia.cuobjdump.path, "-res-usage", file.name])
    found = re.search(r"REG:(\d+) STACK:(\d+)", told)
    assert found, told
    return int(found[1]), int(found[2])


def _output(command: Sequence[str | Path]) -> str:
    return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout
