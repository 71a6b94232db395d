"""What was recorded: values as JSON, packed; tensors by hash and a few figures; and on which processor."""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

DATA = Path(__file__).parent / "data"
ELEMENTS = 8  # that are kept of a tensor

# Between processors. In float64, of a tensor's norm: losses are of float32.
ROUNDING, LEAST = 1e-4, 1e-2
# In float32, of all weights and of all momentum; ten times what it was where this processor was told to do without
# AVX-512, or without AVX.
SHAKEN = {"weights/": 5e-3, "momentum/": 0.4}


def write(name: str, content: Any) -> None:
    """Write `content` as data/NAME.json.gz; the same content gives the same bytes."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    (DATA / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def read(name: str) -> Any:
    """What `write` wrote."""
    return json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))


def tensors_in(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; a checkpoint's are called weights/… and momentum/…"""
    return load(file.read_bytes())


def processor() -> dict[str, str]:
    """What decides on the last bits of a sum: the processor, as torch and its libraries see it, and their version."""
    keys = ("vendor_id", "cpu family", "model", "model name", "stepping", "cache size")
    found = {"torch": torch.__version__, "capability": torch.backends.cpu.get_cpu_capability()}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
    except OSError:
        return {**found, "model name": platform.processor() or platform.machine()}
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    vectors = sorted(flag for flag in about.get("flags", "").split() if flag.startswith(("avx", "amx", "fma", "sse")))
    return {**found, **{key: about.get(key, "") for key in keys}, "vectors": " ".join(vectors)}


def summary(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Of each tensor its shape, SHA-256, norm, and some elements."""
    return {name: _summary(tensor) for name, tensor in sorted(tensors.items())}


def _summary(tensor: Tensor) -> dict[str, Any]:
    flat = tensor.detach().cpu().contiguous().flatten()
    return {
        "shape": list(tensor.shape),
        "sha256": hashlib.sha256(flat.numpy().tobytes()).hexdigest(),
        "norm": float(flat.double().norm()),
        "elements": flat[_places(len(flat))].tolist(),
    }


def _places(count: int) -> list[int]:
    return sorted({count * part // ELEMENTS for part in range(ELEMENTS)})


def check_same(tensors: Mapping[str, Tensor], before: Mapping[str, Any], on: Mapping[str, str]) -> None:
    """Make sure that tensors computed in float32 are those of `before`: to the last bit on the processor of then.

    On others, weights and momentum are compared as wholes: there rounding may put whole areas of an image, black in
    many digits, to the other side of an activation's bend, which moves many a tensor by a hundredth of it within five
    steps. So this tells of gross differences there, and float64 of the small ones.

    Args:
        on: the processor of then.
    """
    now = summary(tensors)
    assert {name: each["shape"] for name, each in now.items()} == {name: was["shape"] for name, was in before.items()}
    if processor() == on:
        assert [name for name in now if now[name]["sha256"] != before[name]["sha256"]] == []
        return
    warnings.warn(f"compared as wholes only, as this is not the processor of then: {on}", stacklevel=2)
    for part, most in SHAKEN.items():
        found, was = (_elements(each, part) for each in (now, before))
        assert (found - was).norm() <= most * was.norm(), part


def check_near(tensors: Mapping[str, Tensor], before: Mapping[str, Any]) -> None:
    """Make sure that each tensor, computed in float64, is as `before`, on whatever processor."""
    now = summary(tensors)
    assert list(now) == list(before)
    for name, was in before.items():
        found, near = now[name], ROUNDING * max(was["norm"], LEAST)
        assert found["shape"] == was["shape"], name
        assert abs(found["norm"] - was["norm"]) <= near, name
        assert all(abs(a - b) <= near for a, b in zip(found["elements"], was["elements"], strict=True)), name


def _elements(tensors: Mapping[str, Any], part: str) -> Tensor:
    values = [value for name, each in tensors.items() if name.startswith(part) for value in each["elements"]]
    return torch.tensor(values, dtype=torch.float64)
