"""What Triton would compile and tune for the primitives on an H200, found out on a machine without one.

Run as a script, since here the kernels must not be interpreted, with a function's name: "requests", "subnets", "code"
or "all_code" (of an architecture). Prints JSON.
"""

import json
import math
import re
import sys
from collections import Counter
from typing import Any

import torch
import triton
from triton import knobs
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.autotuner import Autotuner

from kernels.bench.compiled.instructions import widths
from kernels.bench.compiled.launches import code_for
from kernels.bench.compiled.occupancy import ARCHITECTURES, Architecture, occupancy
from kernels.gpu import depthwise, normalise, pointwise
from kernels.gpu.primitives import TritonPrimitives
from kernels.primitives import OutputGradient, Prologue
from kernels.recorded import Launch
from pipeline.bench.compile import variants
from pipeline.bench.subnet_launches import covering_subnets, subnet_launches
from pipeline.recipe.named_space import named_space

H200 = GPUTarget("cuda", 90, 32)
MATRIX_INSTRUCTIONS = {"sm_80": r"\bmma\.sync\b", "sm_90": r"\bwgmma\b", "sm_100": r"\b(tcgen05\.mma|mma\.sync)\b"}
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


def subnets() -> dict[str, Any]:
    """What 200 random subnets need compiled, by kernel: how much, and what of it those that cover the space do not."""
    space = named_space("mobilenet_v3")
    generator = torch.Generator().manual_seed(0)
    covering = {launch.variant for launch in subnet_launches(space, covering_subnets(space), bf16=True)}
    launches = subnet_launches(space, [space.sample(generator) for _ in range(200)], bf16=True)
    needed = {launch.variant for launch in launches}
    return {
        "launches": len(launches),
        "variants": Counter(kernel for kernel, _ in needed),
        "not covered": [f"{kernel} {key}" for kernel, key in needed - covering],
    }


def code() -> list[dict[str, Any]]:
    """Of each kernel's launches in a step of the smallest subnet, the one that has most to do, compiled."""
    space = named_space("mobilenet_v3")
    dearest: dict[str, Launch] = {}
    for launch in sorted(subnet_launches(space, [space.smallest()], bf16=True), key=_dearness):
        dearest[launch.kernel] = launch
    return [_told(launch, architecture) for launch in dearest.values() for architecture in ARCHITECTURES.values()]


def _dearness(launch: Launch) -> tuple[bool, int]:
    """The dearest activation first, then the largest operands."""
    return launch.values.get("ACTIVATION") == "h_swish", sum(map(math.prod, launch.shapes.values()))


def all_code(architecture: str) -> list[dict[str, Any]]:
    """All that subnets in float32 and bfloat16 may need compiled, of block sizes those that are tried first."""
    first = [launch for _, launch in variants(named_space("mobilenet_v3")) if launch.choice == 0]
    return [_told(launch, ARCHITECTURES[architecture]) for launch in first]


def _told(launch: Launch, architecture: Architecture) -> dict[str, Any]:
    found = code_for(launch, architecture.capability)
    warps = launch.request.options["num_warps"]
    wide = widths(found.ptx)
    return {
        "what": f"{launch.kernel} {architecture.name} {launch.values} {launch.request.signature}",
        "kernel": launch.kernel,
        "architecture": architecture.name,
        "spilled": found.stack_bytes,
        "programs": occupancy(architecture, warps, found.registers, found.shared_bytes).programs,
        "matrix": re.search(MATRIX_INSTRUCTIONS[architecture.name], found.ptx) is not None,
        "load": max(wide.loads, default=0),
        "store": max(wide.stores, default=0),
    }


if __name__ == "__main__":
    absent: Any = AbsentDriver()
    driver.set_active(absent)
    asked: dict[str, Any] = {"requests": requests, "subnets": subnets, "code": code, "all_code": all_code}
    print(json.dumps(asked[sys.argv[1]](*sys.argv[2:])))
