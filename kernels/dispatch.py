"""Whose operations compute the elastic layers: chosen by device, precision and what is installed, or forced."""

from __future__ import annotations

import functools
import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, cast

import torch

from kernels import reference
from kernels.fused import FusedOperations
from kernels.operations import Operations

logger = logging.getLogger(__name__)

KernelChoice = Literal["auto", "triton", "cpu", "reference"]


class KernelError(Exception):
    """Operations that were asked for and cannot be had here; the message says why and what to do."""


def operations_for(choice: KernelChoice, device: str, dtype: torch.dtype) -> Operations:
    """The operations on a device of type `device` ("cpu", "cuda") for activations of `dtype`.

    "auto" takes the fastest that can be had: Triton's on CUDA, C++ for float32 on CPUs, else plain PyTorch.

    Raises:
        KernelError: where `choice` names operations that cannot be had.
    """
    if choice == "auto":
        return _fastest(device, dtype)
    if choice == "reference":
        return _reference()
    if reason := _unsuited(choice, device, dtype) or _lacking(choice):
        raise KernelError(f"'{choice}' cannot be had: {reason}; legal here: {', '.join(_legal(device, dtype))}")
    return _fused(choice)


@contextmanager
def named_launches(tell: Callable[[str], None]) -> Iterator[Operations]:
    """Triton's operations for tensors without memory: each launch tells its kernel's name, and computes nothing.

    Triton's losses do the same within it.

    Raises:
        KernelError: where Triton is not installed.
    """
    if lacking := _lacking("triton"):
        raise KernelError(lacking)
    from kernels.gpu.counting import named_instead_of_launched

    with named_instead_of_launched(tell):
        yield _fused("triton")


@functools.cache
def _fastest(device: str, dtype: torch.dtype) -> Operations:
    choice = "cpu" if device == "cpu" else "triton"
    if _unsuited(choice, device, dtype):
        return _reference()
    if lacking := _lacking(choice):
        logger.warning("kernels: plain PyTorch computes the elastic layers, which is slower: %s", lacking)
        return _reference()
    return _fused(choice)


def _legal(device: str, dtype: torch.dtype) -> list[str]:
    possible = [each for each in ("triton", "cpu") if not (_unsuited(each, device, dtype) or _lacking(each))]
    return ["auto", *possible, "reference"]


def _unsuited(choice: str, device: str, dtype: torch.dtype) -> str | None:
    """Why these operations do not compute on this device in this precision; None where they do."""
    precision = str(dtype).removeprefix("torch.")
    if choice == "cpu":
        fits = device == "cpu" and dtype == torch.float32
        return None if fits else f"it computes in float32 on CPUs, not in {precision} on {device}"
    if device != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        return f"Triton's kernels need a CUDA device, not {device}"
    if dtype not in (torch.float32, torch.bfloat16):
        return f"Triton's kernels compute in float32 and bfloat16, not in {precision}"
    return None


@functools.cache
def _lacking(choice: str) -> str | None:
    """What must be installed for these operations; None where nothing."""
    if choice == "triton":
        installed = importlib.util.find_spec("triton") is not None
        return None if installed else "Triton is not installed; pip install 'delayed-epsilon-shrinking[triton]'"
    from kernels.cpu.build import BuildError, library

    try:
        library()
    except BuildError as error:
        return str(error)
    return None


@functools.cache
def _fused(choice: str) -> Operations:
    if choice == "cpu":
        from kernels.cpu.primitives import CpuPrimitives

        return FusedOperations(CpuPrimitives(), "cpu")
    from kernels.gpu.primitives import TritonPrimitives

    return FusedOperations(TritonPrimitives(), "triton")


def _reference() -> Operations:
    return cast(Operations, reference)  # a module whose functions are the protocol's methods
