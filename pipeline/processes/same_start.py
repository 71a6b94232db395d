"""Whether all processes of a run were started alike: the same recipe, the same code, the same torch.

Processes that differ would train, without an error, something that none of the recipes describes.
"""

from __future__ import annotations

import hashlib
import importlib
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import UsageError
from pipeline.processes.group import Processes

_PACKAGES = ("pipeline", "kernels", "data_shards")
_SOURCES = (".py", ".cpp", ".h")


def check_same_start(processes: Processes, recipe: Mapping[str, Any], resume: bool) -> None:
    """Compare what this process was started with to what the others were. All must call it together.

    Args:
        recipe: its leaves by dotted key.

    Raises:
        UsageError: on all processes, for the first one that differs from process 0, naming what.
    """
    started = {"--resume": str(resume), "torch": torch.__version__, "code": source_digest(), **recipe}
    for rank, (host, other) in enumerate(every := processes.gathered([(socket.gethostname(), started)])):
        first_host, first = every[0]
        for key in sorted(other.keys() | first.keys()):
            if other.get(key) != first.get(key):
                raise UsageError(
                    f"process {rank} on {host} has {key}={other.get(key)}, process 0 on {first_host} has "
                    f"{key}={first.get(key)}: start all processes of a run with the same code, recipe and overrides"
                )


def source_digest() -> str:
    """The first digits of a SHA-256 over the names and contents of the sources."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        root = Path(str(importlib.import_module(package).__file__)).parent
        for path in sorted(path for path in root.rglob("*") if path.suffix in _SOURCES):
            digest.update(f"{package}/{path.relative_to(root)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]
