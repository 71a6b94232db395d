"""Which launches of Triton's kernels a training step of some subnets asks for, where no GPU makes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import torch

from kernels.bench.compiled.launches import launches_of
from kernels.fused import FusedOperations
from kernels.losses.choice import Losses
from kernels.operations import Operations
from kernels.recorded import Launch
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet

# No code depends on the sizes of images, and small ones leave the operations of libraries between the kernels quick.
_SIDE, _BATCH = 32, 2


def subnet_launches(space: Space, subnets: Iterable[Subnet], bf16: bool, every_choice: bool = False) -> list[Launch]:
    """What a forward and a backward pass of each of `subnets` launches, the losses of distillation included.

    They have the channels of `space`, and images of 32 px: sizes are not among what code depends on.

    Args:
        every_choice: see `kernels.gpu.compilation.recorded`.
    """
    supernet = _RecordedSupernet(space, bf16)

    def train(operations: FusedOperations, losses: Losses) -> None:
        supernet.recorded = operations
        for subnet in subnets:
            logits = supernet(torch.zeros(_BATCH, 3, _SIDE, _SIDE), subnet)
            teacher = torch.zeros_like(logits)
            soft = losses.soft_cross_entropy(logits, teacher, 1.0)
            (soft + losses.alpha_divergence(logits, teacher, 1.0, (-1.0, 1.0), 5.0)).backward()

    return launches_of(train, every_choice)


def covering_subnets(space: Space) -> list[Subnet]:
    """Subnets that among them have each kernel size with each expand ratio in every block; the largest in all else."""
    dimensions = space.dimensions()
    kernels, expands = ([each for each in dimensions if each.what == what] for what in ("kernel", "expand"))
    most = [max((len(each.choices) for each in those), default=1) for those in (kernels, expands)]
    return [
        space.assemble(
            {each: each.choices[kernel % len(each.choices)] for each in kernels}
            | {each: each.choices[expand % len(each.choices)] for each in expands}
        )
        for kernel, expand in itertools.product(*map(range, most))
    ]


class _RecordedSupernet(Supernet):
    """A supernet over operations that are given to it."""

    recorded: FusedOperations

    def __init__(self, space: Space, bf16: bool) -> None:
        super().__init__(space, bf16=bf16, kernels="reference")

    def operations(self, device: str) -> Operations:
        return self.recorded
