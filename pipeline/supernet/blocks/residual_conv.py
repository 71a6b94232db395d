"""A convolution with a shortcut, as in the stem of OFA's ResNet50D: x + activation(batch norm(convolution(x)))."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor, nn

from kernels.operations import Operations
from pipeline.supernet.blocks.block import ChannelGroup, ElasticBlock
from pipeline.supernet.layer import BlockShape, Layer
from pipeline.supernet.layers import ElasticBatchNorm, ElasticConv
from pipeline.supernet.part import StageSpace
from pipeline.supernet.plain import Path, plain_layer


class ElasticResidualConv(ElasticBlock):
    """See `ElasticBlock`. It has as many outputs as inputs, and no middle."""

    def __init__(self, stage: StageSpace, shape: BlockShape, recompute: bool) -> None:
        super().__init__(stage, shape, recompute)
        self.conv = ElasticConv(shape.inputs, shape.outputs, shape.kernel, shape.stride)
        self.conv_bn = ElasticBatchNorm(shape.outputs, shape.epsilon)

    @staticmethod
    def middle(inputs: int, outputs: int, expand: float) -> int:
        return outputs

    @staticmethod
    def layers(shape: BlockShape) -> tuple[Layer, ...]:
        return (_conv(shape, shape.prefix),)

    @staticmethod
    def plain(shape: BlockShape) -> nn.Module:
        return ResidualConv(shape)

    @staticmethod
    def channel_groups(shape: BlockShape, trained: Collection[int]) -> tuple[ChannelGroup, ...]:
        """None: a sum shares its channels with what is before and after it."""
        return ()

    @staticmethod
    def last_norm(shape: BlockShape) -> str:
        return f"{shape.prefix}conv_bn"

    def compute(self, operations: Operations, x: Tensor, shape: BlockShape, full: bool) -> Tensor:
        y = self.conv_bn(operations, self.conv(operations, x, shape.outputs), full, shape.activation)
        return operations.settle(y, x)


class ResidualConv(Path):
    """The static block of a shape: x [N, C, H, W] to the same."""

    def __init__(self, shape: BlockShape) -> None:
        super().__init__(plain_layer(_conv(shape, "")))

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def _conv(shape: BlockShape, prefix: str) -> Layer:
    return Layer(
        f"{prefix}conv", "conv", shape.inputs, shape.outputs, shape.kernel, side=shape.side,
        norm=f"{prefix}conv_bn", activation=shape.activation, epsilon=shape.epsilon,
    )  # fmt: skip
