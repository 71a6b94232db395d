"""Whose losses go with whose operations."""

from __future__ import annotations

import functools
from typing import Protocol, cast

from torch import Tensor

from kernels.losses import reference


class Losses(Protocol):
    """Losses with the meaning of `kernels.losses.reference`."""

    def soft_cross_entropy(self, logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor: ...
    def alpha_divergence(
        self, logits: Tensor, teacher_logits: Tensor, temperature: float, alphas: tuple[float, float], clip: float
    ) -> Tensor: ...


@functools.cache
def losses_for(implementation: str) -> Losses:
    """The losses for logits of the operations called `implementation` (`Operations.name`).

    Triton's with Triton's operations, since these compute where it runs; plain PyTorch's with all others.
    """
    if implementation == "triton":
        import kernels.losses.gpu as gpu

        return cast(Losses, gpu)  # modules whose functions are the protocol's methods
    return cast(Losses, reference)
