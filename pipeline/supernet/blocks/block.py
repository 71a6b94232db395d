"""What every kind of block can tell and do, and what all kinds do alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kernels.operations import Operations
from kernels.reference import ACTIVATIONS
from pipeline.supernet.layer import BlockShape, Layer
from pipeline.supernet.part import StageSpace


class Axis(NamedTuple):
    """One axis of one tensor of the supernet's state, by name."""

    tensor: str
    axis: int


class ChannelGroup(NamedTuple):
    """Channels inside a block, of which subnets use the leading ones, and which may change places.

    Attributes:
        readers: the axes of weights that read them; the L1 norm of the first one's weights is a channel's importance.
        producers: all other axes that run over them.
        bounds: how many of them subnets that are trained already use, ascending: channels change places between two
            bounds alone, so that each of these subnets keeps its own.
    """

    readers: tuple[Axis, ...]
    producers: tuple[Axis, ...]
    bounds: tuple[int, ...]


class ElasticBlock(nn.Module, ABC):
    """A block whose weights all subnets share; each call says by its shape which leading part of them is active.

    Args:
        stage: what the block may be.
        shape: the largest that it can be.
        recompute: keep of it its input alone, and compute it again for backward (activation checkpointing).
    """

    def __init__(self, stage: StageSpace, shape: BlockShape, recompute: bool) -> None:
        super().__init__()
        self.recompute = recompute
        self.drop_connect = 0.0  # probability that a sample of the full model loses all but its shortcut

    @staticmethod
    @abstractmethod
    def middle(inputs: int, outputs: int, expand: float) -> int:
        """Channels between its first and last convolution."""

    @staticmethod
    @abstractmethod
    def layers(shape: BlockShape) -> tuple[Layer, ...]:
        """The layers of a block of this shape, in order of execution, those of its shortcut last."""

    @staticmethod
    @abstractmethod
    def plain(shape: BlockShape) -> nn.Module:
        """The untrained static block of this shape, of torch's own layers under the names of `layers`."""

    @staticmethod
    @abstractmethod
    def channel_groups(shape: BlockShape, trained: Collection[int]) -> tuple[ChannelGroup, ...]:
        """What of a block may be sorted.

        Args:
            shape: the largest that the block can be.
            trained: numbers of middle channels that subnets trained already have.
        """

    @staticmethod
    @abstractmethod
    def last_norm(shape: BlockShape) -> str:
        """Name of the batch norm whose output is added to the shortcut."""

    @abstractmethod
    def compute(self, operations: Operations, x: Tensor, shape: BlockShape, full: bool) -> Tensor:
        """The output [N, outputs, side / stride, side / stride] for x [N, inputs, side, side].

        Args:
            full: whether it is for the full model, whose running statistics are kept.
        """

    def forward(self, operations: Operations, x: Tensor, shape: BlockShape, full: bool) -> Tensor:
        """See `compute`."""
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return self.compute(operations, x, shape, full)
        return checkpoint(
            self.compute,
            operations,
            x,
            shape,
            full,
            use_reentrant=False,
            preserve_rng_state=self.drop_connect > 0,  # else nothing in a block is random
            context_fn=lambda: (nullcontext(), self._statistics_kept()),
        )

    def add(
        self,
        operations: Operations,
        y: Any,
        shortcut: Tensor | None,
        shape: BlockShape,
        full: bool,
        activation: str = "identity",
    ) -> Tensor:
        """The block's own output with its shortcut, activated; in training of the full model with drop-connect.

        A sample's own output is left out with probability `drop_connect`, and else divided by what remains of 1, where
        the block neither strides nor changes the channels (Huang et al., ECCV 2016; EfficientNet's drop-connect).

        Args:
            y: the block's own output [N, outputs, H, W], as operations pass it on.
        """
        keeps_size = (shape.stride, shape.inputs) == (1, shape.outputs)
        if not (full and self.training and self.drop_connect and keeps_size and shortcut is not None):
            return operations.settle(y, shortcut, activation)
        y = operations.settle(y, None)
        kept = torch.rand(len(y), 1, 1, 1, device=y.device) >= self.drop_connect
        return ACTIVATIONS[activation](y * (kept / (1 - self.drop_connect)).to(y.dtype) + shortcut)

    @contextmanager
    def _statistics_kept(self) -> Iterator[None]:
        """For computing the block a second time: its running statistics have had this batch already."""
        before = [buffer.clone() for buffer in self.buffers()]
        try:
            yield
        finally:  # torch ends the pass early, by an exception, once it has what backward needs
            with torch.no_grad():
                for buffer, value in zip(self.buffers(), before, strict=True):
                    buffer.copy_(value)
