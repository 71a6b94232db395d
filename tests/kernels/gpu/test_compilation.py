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


def without_gpu(what: str, cache: Path, *arguments: str) -> Any:
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "TRITON_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, SCRIPT, what, *arguments], env=environment, capture_output=True, text=True)
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


def test_200_random_subnets_compile_no_more_than_a_few_that_cover_the_space(tmp_path: Path) -> None:
    found = without_gpu("subnets", tmp_path)
    assert found["launches"] > 200 * 100
    assert found["not covered"] == []
    assert len(found["variants"]) == 12
    # Kernel sizes × strides × activations, with and without prologue, and tiles of channels: no sizes are among it.
    assert sum(found["variants"].values()) <= 62


# A thread's values are neighbours in memory, and 16 bytes of them go at once, but: a depthwise kernel has registers for
# four channels; sums and coefficients are one value per channel, for a thread each; rows of logits start anywhere.
LOADS = {"depthwise._forward": 8, "depthwise._backward": 8, "batch_norm._forward": 4, "batch_norm._backward": 4}
STORES = {**LOADS, "normalise._sum_positions": 4}
ANYWHERE = {"losses.gpu._rows": 4, "losses.gpu._alpha_rows": 4}
MATRICES = {f"pointwise.{name}" for name in ("_forward", "_input_gradient", "_weight_gradient")}


def complaints(found: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the code for block sizes that are tried first."""
    told = []
    for each in found:
        kernel = each["kernel"]
        if each["spilled"]:
            told.append(f"{each['spilled']} bytes of registers spilled: {each['what']}")
        if not each["programs"]:
            told.append(f"does not fit a multiprocessor: {each['what']}")
        if each["load"] < (LOADS | ANYWHERE).get(kernel, 16):
            told.append(f"loads only {each['load']} bytes at once: {each['what']}")
        if each["store"] < (STORES | ANYWHERE).get(kernel, 16):
            told.append(f"stores only {each['store']} bytes at once: {each['what']}")
    return told


def test_every_kernel_compiles_for_three_architectures_without_spills_and_moves_16_bytes_at_a_time(
    tmp_path: Path,
) -> None:
    found = without_gpu("code", tmp_path)
    assert complaints(found) == []
    assert len({each["kernel"] for each in found}) == 12
    assert {each["architecture"] for each in found} == {"sm_80", "sm_90", "sm_100"}
    assert {each["kernel"] for each in found if each["matrix"]} == MATRICES
    assert all(each["matrix"] for each in found if each["kernel"] in MATRICES)


@pytest.mark.faults
@pytest.mark.timeout(7200)  # a depthwise kernel of 7×7 takes its compiler half a minute
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100"])
def test_no_choice_of_blocks_that_is_tried_first_spills_in_any_variant(architecture: str, tmp_path: Path) -> None:
    found = without_gpu("all_code", tmp_path, architecture)
    assert complaints(found) == []
    assert len(found) > 100


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
