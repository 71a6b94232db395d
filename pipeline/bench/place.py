"""Where a benchmark runs and what a reader must know of that place."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from pipeline.errors import UsageError
from pipeline.run.folder import processor

PLACE = ("machine", "device", "cpu_cores", "threads", "load_average", "date", "versions")  # what `place` tells


def device_named(name: str | None) -> torch.device:
    """The device of `--device`; without one, a GPU where there is one.

    There, cuDNN is told to try its algorithms, which plain PyTorch is fastest with.

    Raises:
        UsageError: where the name is unknown or there is no such device.
    """
    if name not in (None, "cpu", "cuda"):
        raise UsageError(f"--device: '{name}' is no device; legal: cpu, cuda")
    if name == "cpu" or not torch.cuda.is_available():
        if name == "cuda":
            raise UsageError("--device: 'cuda' needs a GPU that torch can use, and there is none; legal here: cpu")
        return torch.device("cpu")
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda")


def activations_dtype(device: torch.device) -> torch.dtype:
    """What activations are computed in: bfloat16 on GPUs, float32 on CPUs."""
    return torch.bfloat16 if device.type == "cuda" else torch.float32


def place(device: torch.device, packages: Sequence[str] = ()) -> dict[str, Any]:
    """Machine, date and versions, as JSON values; to be asked at a benchmark's end.

    Args:
        packages: whose versions matter, besides torch's.

    `load_average` (over the last minute) well above `threads` tells that others used the processor, too.
    """
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    if device.type == "cuda":
        versions |= {"triton": _version("triton"), "cuda": str(torch.version.cuda), "driver": _driver()}
    versions |= {package: _version(package) for package in packages}
    return {
        "machine": torch.cuda.get_device_name(device) if device.type == "cuda" else processor(),
        "device": device.type,
        "cpu_cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": round(os.getloadavg()[0], 2),
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": versions,
    }


def place_line(found: dict[str, Any]) -> str:
    """`place` for people, in one line."""
    versions = ", ".join(f"{name} {value}" for name, value in found["versions"].items())
    return (
        f"{found['machine']}, {found['cpu_cores']} CPU cores, {found['threads']} threads, load average at the end "
        f"{found['load_average']}; {versions}; {found['date'][:16]}"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _driver() -> str:
    """NVIDIA's driver, where its own tool tells."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return "unknown"
    query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, encoding="utf-8", check=False)
    return done.stdout.split("\n")[0].strip() or "unknown"
