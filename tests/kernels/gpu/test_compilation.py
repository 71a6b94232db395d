"""A supernet meets new shapes all the time: none may cost a compilation, and only new magnitudes cost measurements."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).parent / "without_gpu.py"
ROOT = Path(__file__).parents[3]


def without_gpu(what: str, cache: Path) -> Any:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "TRITON_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, SCRIPT, what], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_subnet_never_seen_is_neither_compiled_nor_measured(tmp_path: Path) -> None:
    counts = without_gpu("requests", tmp_path)
    assert counts["variants at first"] > 20
    same = "after subnets of the same sizes, rounded up"
    assert counts[f"variants {same}"] == counts["variants at first"]
    assert counts[f"measurements {same}"] == counts["measurements at first"]
    assert counts["variants after other images"] == counts["variants at first"]
    assert counts["measurements after other images"] > counts["measurements at first"]
    on_disk = "measurements after forgetting all but what is on disk"
    assert counts[on_disk] == counts["measurements after other images"]


def test_the_code_for_an_h200_reads_16_bytes_at_a_time_and_multiplies_matrices_by_its_instructions(
    tmp_path: Path,
) -> None:
    found = without_gpu("code", tmp_path)
    matrix = {f"kernels.gpu.pointwise.{name}" for name in ("_forward", "_input_gradient", "_weight_gradient")}
    assert {name for name, has in found.items() if has["matrix"]} == matrix
    # A depthwise kernel reads fewer channels per thread: it needs the registers for their neighbours. Batch norm's
    # coefficients are one value per channel, for a thread each.
    narrow = {f"kernels.gpu.{name}.{way}" for name in ("depthwise", "batch_norm") for way in ("_forward", "_backward")}
    assert {name for name, has in found.items() if not has["wide"]} <= narrow
    assert len(found) == 10


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_new_shape_compiles_nothing() -> None:
    from triton import knobs

    from kernels.gpu.primitives import TritonPrimitives
    from kernels.primitives import Prologue

    compiled: list[str] = []

    def images(channels: int) -> torch.Tensor:
        x = torch.randn(8, channels, 14, 14, device="cuda", dtype=torch.bfloat16)
        return x.contiguous(memory_format=torch.channels_last)

    def step(inputs: int, outputs: int) -> None:
        prologue = Prologue(torch.ones(inputs, device="cuda"), torch.ones(inputs, device="cuda"), "relu")
        weight = torch.randn(256, 256, 1, 1, device="cuda")
        TritonPrimitives().pointwise(images(inputs), prologue, weight, outputs)

    step(72, 136)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knobs.runtime, "jit_post_compile_hook", lambda *_, fn, **__: compiled.append(fn.name))
        for inputs, outputs in [(80, 144), (96, 160), (104, 256), (128, 200)]:
            step(inputs, outputs)
    assert compiled == []
