"""A launch of a kernel that was recorded instead of made, and what it becomes when it is compiled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Request(NamedTuple):
    """What Triton's compiler is given; equal for launches that share code.

    Attributes:
        function: the kernel, as Triton knows it.
        key: what Triton knows a kernel's code by, but for the architecture.
        options: warps of a program, stages of its pipelines, and the like.
    """

    function: Any
    key: str
    signature: Mapping[str, str]
    constants: Mapping[Any, Any]
    attributes: Mapping[Any, Any]
    options: Mapping[str, Any]


class Launch(NamedTuple):
    """A launch that was asked for and not made.

    Attributes:
        kernel: file and name, as "pointwise._input_gradient".
        choice: place among the choices of block sizes that fit; 0 is tried first, and taken where nothing is measured.
        values: of the parameters that are no tensors, by name: sizes, constants and block sizes; None for a tensor that
            is not given.
        shapes: of the tensors, by the parameter's name.
        element_bytes: of the tensors.
        grid: programs along each axis.
    """

    kernel: str
    choice: int
    values: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    element_bytes: Mapping[str, int]
    grid: tuple[int, ...]
    request: Request

    @property
    def variant(self) -> tuple[str, str]:
        """Equal for launches that share code."""
        return self.kernel, self.request.key


class Code(NamedTuple):
    """A kernel for one architecture.

    Attributes:
        registers: of a thread.
        stack_bytes: of a thread. These kernels have no arrays, so whatever is here was spilled from registers.
        shared_bytes: of a program.
    """

    ptx: str
    cubin: bytes
    registers: int
    stack_bytes: int
    shared_bytes: int
