"""Compiles this folder's C++ for the processor at hand, once, and loads it.

The sources know nothing of torch or Python and get plain pointers: no headers are needed, and they are compiled in
seconds. Their OpenMP is the one that torch has loaded already, so its threads are shared.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch  # noqa: F401  (its OpenMP library must be loaded first)

from kernels.cache_folder import CacheRefused, in_own_folder, own_file
from kernels.cpu.instruction_set import InstructionSet, of_this_processor

logger = logging.getLogger(__name__)

_FOLDER = Path(__file__).parent
_SOURCES = ("pointwise.cpp", "depthwise.cpp", "batch_norm.cpp", "normalise.cpp")
_FLAGS = ["-std=c++17", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-shared", "-fPIC"]
_CHECKSUM = hashlib.sha256().digest_size
_SPACE = 4 << 20  # bytes: more than compiling takes of a disk


class BuildError(Exception):
    """No compiler, one that fails, or no place for what it makes."""


@functools.cache
def library(instructions: InstructionSet | None = None) -> ctypes.CDLL:
    """The compiled operations, from the cache (`kernels.cache_folder`) where they are there already.

    Args:
        instructions: what they may use; None for the widest that the processor at hand has. Machines that share a home
            folder keep theirs beside each other.

    Raises:
        BuildError: where it can be neither found nor compiled; one line.
    """
    instructions = instructions or of_this_processor()
    compiler, command = _compiler()
    flags = (*_FLAGS, *instructions.flags)
    name = f"{_digest(compiler, flags, instructions.name)}.so"
    try:
        return in_own_folder(lambda folder: _loaded(folder / name, command, flags))
    except CacheRefused as refusal:
        raise BuildError(str(refusal)) from None


def _compiler() -> tuple[str, list[str]]:
    """The compiler, as it was named and split into words: CXX may hold a launcher or options ("ccache g++")."""
    named = os.environ.get("CXX", "").strip()
    compiler = named or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        raise BuildError("no C++ compiler was found (g++ or clang++; on Debian: apt install g++)")
    try:
        command = [compiler] if shutil.which(compiler) else shlex.split(compiler)
    except ValueError as error:
        raise BuildError(f"CXX={compiler}: is no command: {error}") from None
    if shutil.which(command[0]) is None:
        raise BuildError(f"CXX={compiler}: there is no command {command[0]}; unset CXX to have g++ or clang++ taken")
    return compiler, command


def _digest(compiler: str, flags: Sequence[str], instructions: str) -> str:
    """A name for the result by all that decides about it: sources, compiler, flags, kind of processor and C library."""
    digest = hashlib.sha256(repr((compiler, flags, instructions, _c_library(), "with checksum")).encode())
    for source in sorted(_FOLDER.glob("*.[ch]*")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _c_library() -> str | None:
    """A library that was linked with a newer one cannot be loaded with an older one."""
    return os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None


def _loaded(path: Path, command: Sequence[str], flags: Sequence[str]) -> ctypes.CDLL:
    try:
        fault = _fault(path) if os.path.lexists(path) else None
        if fault:
            logger.warning("kernels: %s: %s; it is not loaded, but compiled anew", path, fault)
        if fault or not path.exists():
            _compile(command, flags, path)
        return ctypes.CDLL(str(path))
    except OSError as error:  # the loader's has no number, only words
        raise CacheRefused(f"{path.parent}: {error.strerror or error}") from None


def _fault(path: Path) -> str | None:
    """Why what is in the cache must not be loaded; None where it may."""
    if not own_file(path):
        return "is no file that this user alone can have written"
    content = path.read_bytes()
    if hashlib.sha256(content[:-_CHECKSUM]).digest() != content[-_CHECKSUM:]:
        return "is damaged"  # the loader would end the process by a signal
    return None


def _compile(command: Sequence[str], flags: Sequence[str], path: Path) -> None:
    # Beside its final place, and renamed: nobody sees a half-written file, whoever compiles or is killed meanwhile.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        line = [*command, *flags, *(str(_FOLDER / source) for source in _SOURCES), "-o", str(made)]
        # The compiler's temporary files go there as well: this folder is known to be writable.
        environment = {**os.environ, "TMPDIR": folder}
        done = subprocess.run(
            line, capture_output=True, encoding="utf-8", errors="replace", env=environment, check=False
        )
        if done.returncode:
            # Fails with an OSError that says so, where the compiler failed for want of space.
            (Path(folder) / "space").write_bytes(bytes(_SPACE))
            error = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr.strip())
            raise BuildError(f"{shlex.join(command)} failed: {error[:200] or f'exit code {done.returncode}'}")
        made.chmod(0o700)
        with made.open("ab") as file:  # loaders ignore what follows a library's sections
            file.write(hashlib.sha256(made.read_bytes()).digest())
        os.replace(made, path)
