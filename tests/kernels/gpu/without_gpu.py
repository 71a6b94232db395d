"""What Triton would compile and tune for the primitives on an H200, found out on a machine without one.

Run as a script, since here the kernels must not be interpreted: with "requests" or "code"; prints JSON.
"""

import json
import re
import sys
from typing import Any

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.autotuner import Autotuner
from triton.runtime.jit import JITFunction

from kernels.gpu import depthwise, normalise, pointwise
from kernels.gpu.primitives import TritonPrimitives
from kernels.primitives import OutputGradient, Prologue

H200 = GPUTarget("cuda", 90, 32)
primitives = TritonPrimitives()


class AbsentDriver:
    """Enough of a driver to compile, not to launch."""

    def get_current_target(self) -> GPUTarget:
        return H200

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def subnet(batch: int, side: int, narrow: int, wide: int, largest: int = 7) -> None:
    """All passes of a block that expands `narrow` channels to `wide` ones, in bfloat16, with nothing computed.

    The 3×3 kernel is the centre of one of size `largest`: of 7, it starts at a multiple of 16 bytes, of 5, it does not.
    """

    def images(channels: int) -> torch.Tensor:
        shape = (batch, channels, side, side)
        return torch.empty(shape, dtype=torch.bfloat16, memory_format=torch.channels_last)

    x, y = images(narrow), images(wide)
    of_narrow, of_wide = (
        Prologue(torch.empty(channels), torch.empty(channels), "h_swish") for channels in (narrow, wide)
    )
    expand, gate, margin = torch.empty(512, 256, 1, 1), torch.empty(batch, wide), (largest - 3) // 2
    taps = torch.empty(wide, 1, largest, largest)[:, :, margin : margin + 3, margin : margin + 3]
    moments, (count, epsilon) = torch.empty(2, wide, dtype=torch.float64), (batch * side**2, 1e-5)
    weight, bias, mean, variance = (torch.empty(512) for _ in range(4))
    gradient = OutputGradient(y, y, moments)
    primitives.pointwise(x, of_narrow, expand, wide)
    primitives.pointwise_backward(gradient, x, of_narrow, expand)
    primitives.depthwise(y, of_wide, taps, 1)
    primitives.depthwise_backward(gradient, y, of_wide, taps, 1)
    primitives.batch_norm(moments, count, weight, bias, epsilon, (mean, variance), 0.1)
    primitives.batch_norm(moments, count, weight, bias, epsilon, None, 0.1)
    primitives.batch_norm_backward(of_wide.scale, of_wide.shift, moments, count, weight, epsilon)
    primitives.apply(y, of_wide, gate, None)
    primitives.apply_backward(y, gate, gate, y, of_wide)
    primitives.apply(y, of_wide, None, y, "relu")
    primitives.apply_backward(y, None, None, y, of_wide, y, "relu")
    primitives.pool(y, of_wide)
    primitives.gate_gradient(y, y, of_wide)


def requests() -> dict[str, int]:
    """How many kernels are to be compiled, and how many measurements are taken, as more and more subnets come."""
    variants: set[tuple[str, str]] = set()
    measurements = 0

    def request(*, key: str, fn: Any, **_: Any) -> bool:
        variants.add((fn.name, key))
        return True  # do not compile

    def measure(call: Any, **_: Any) -> list[float]:
        nonlocal measurements
        measurements += 1
        call()
        return [1.0, 1.0, 1.0]

    knobs.runtime.jit_cache_hook = request
    triton.testing.do_bench = measure
    counts = {}

    def count(when: str) -> None:
        counts[f"variants {when}"] = len(variants)
        counts[f"measurements {when}"] = measurements

    subnet(4, 14, 72, 200)
    subnet(4, 14, 136, 200)  # more inputs than are summed over at once
    count("at first")
    for narrow, wide in [(80, 136), (88, 208), (96, 256), (120, 240), (128, 144), (144, 200), (256, 256)]:
        subnet(3, 16, narrow, wide)
    count("after subnets of the same sizes, rounded up")
    subnet(1, 1, 72, 136, largest=5)
    subnet(2, 31, 128, 160)
    count("after other images")
    for module in (pointwise, depthwise, normalise):
        for each in vars(module).values():
            if isinstance(each, Autotuner):
                each.cache.clear()
    subnet(4, 14, 72, 200)
    count("after forgetting all but what is on disk")
    return counts


def code() -> dict[str, dict[str, bool]]:
    """By kernel, whether its code for the first blocks has Hopper's matrix instructions and reads 16 bytes at once."""
    found: dict[str, dict[str, bool]] = {}
    run = JITFunction.run

    def compile_only(self: JITFunction, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> None:
        kernel: Any = run(self, *arguments, grid=grid, warmup=True, **options)
        text = kernel.asm["ptx"]
        wide = re.search(r"ld\.global[\w.:]*\.v4\.b32|cp\.async\.cg\.shared\.global[^;]*, 0x10,", text)
        # Of a kernel with several variants, all of them.
        before = found.get(name := f"{self.__module__}.{self.__name__}", {"matrix": True, "wide": True})
        found[name] = {"matrix": before["matrix"] and "wgmma" in text, "wide": before["wide"] and wide is not None}

    def first_blocks(self: Autotuner, *arguments: Any, **options: Any) -> None:
        self.fn.run(*arguments, **options, **self.configs[0].all_kwargs())

    JITFunction.run = compile_only
    Autotuner.run = first_blocks
    subnet(2, 14, 64, 96)
    return found


if __name__ == "__main__":
    absent: Any = AbsentDriver()
    driver.set_active(absent)
    print(json.dumps({"requests": requests, "code": code}[sys.argv[1]]()))
