"""Compiles this folder's C++ for the machine at hand, once, and loads it.

No compiler of Python packages is needed: the sources know nothing of torch, get plain pointers, and are compiled in
seconds. OpenMP is the one that torch has loaded already, so its threads are shared.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch  # noqa: F401  (its OpenMP library must be loaded first)

_FOLDER = Path(__file__).parent
_SOURCES = ("pointwise.cpp", "depthwise.cpp", "normalise.cpp")
_FLAGS = ["-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC"]


class BuildError(Exception):
    """No compiler, or one that fails."""


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled operations, from the cache (`$XDG_CACHE_HOME/deps-kernels`) where they are there already.

    Raises:
        BuildError: in one line.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise BuildError("no C++ compiler was found (g++ or clang++; on Debian: apt install g++)")
    folder = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "deps-kernels"
    path = folder / f"{_digest(compiler)}.so"
    if not path.exists():
        _compile(compiler, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BuildError(f"{path}: cannot be loaded ({error}); delete it to have it compiled anew") from None


def _digest(compiler: str) -> str:
    """Of all that decides about the result: sources, flags, compiler and processor."""
    digest = hashlib.sha256(repr((_FLAGS, compiler, platform.machine(), _processor())).encode())
    for source in sorted(_FOLDER.glob("*.[ch]*")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _processor() -> str:
    """The processor's instruction sets, where Linux tells them: a home folder may be shared by unlike machines."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _compile(compiler: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside its final place and renamed: others who compile at the same time, or a kill, leave nothing half done.
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            command = [compiler, *_FLAGS, *(str(_FOLDER / source) for source in _SOURCES), "-o", str(made)]
            done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
            if done.returncode:
                error = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
                raise BuildError(f"{compiler} failed: {error[:200]}")
            os.replace(made, path)
    except OSError as error:
        raise BuildError(f"{path}: {error.strerror}") from None
