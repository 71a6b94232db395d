"""The bottleneck of ResNet-D: reduce 1×1, convolve k×k, restore 1×1; the activation follows the sum with the shortcut.

ResNet (He et al., CVPR 2016, §4.1) with the stride in the k×k convolution and a shortcut that is pooled before it is
projected (He et al., "Bag of Tricks", CVPR 2019, §4).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from kernels.operations import Operations
from pipeline.supernet.blocks.block import Axis, ChannelGroup, ElasticBlock
from pipeline.supernet.layer import BlockShape, Layer, round_channels, strided
from pipeline.supernet.layers import ElasticBatchNorm, ElasticConv, ElasticPointwise
from pipeline.supernet.part import StageSpace
from pipeline.supernet.plain import ACTIVATIONS, Path, plain_layer


class ElasticBottleneck(ElasticBlock):
    """See `ElasticBlock`. The expand ratio is that of the middle to the active outputs, below 1."""

    def __init__(self, stage: StageSpace, shape: BlockShape, recompute: bool) -> None:
        super().__init__(stage, shape, recompute)
        self.conv1 = ElasticPointwise(shape.inputs, shape.middle)
        self.conv1_bn = ElasticBatchNorm(shape.middle, shape.epsilon)
        self.conv2 = ElasticConv(shape.middle, shape.middle, shape.kernel, shape.stride)
        self.conv2_bn = ElasticBatchNorm(shape.middle, shape.epsilon)
        self.conv3 = ElasticPointwise(shape.middle, shape.outputs)
        self.conv3_bn = ElasticBatchNorm(shape.outputs, shape.epsilon)
        if stage.starts_as_shortcut:
            nn.init.zeros_(self.conv3_bn.weight)
        if shape.shortcut == "projected":
            self.shortcut = ElasticPointwise(shape.inputs, shape.outputs)
            self.shortcut_bn = ElasticBatchNorm(shape.outputs, shape.epsilon)

    @staticmethod
    def middle(inputs: int, outputs: int, expand: float) -> int:
        return round_channels(round(outputs * expand))

    @staticmethod
    def layers(shape: BlockShape) -> tuple[Layer, ...]:
        return tuple(_layers(shape, shape.prefix))

    @staticmethod
    def plain(shape: BlockShape) -> nn.Module:
        return Bottleneck(shape)

    @staticmethod
    def channel_groups(shape: BlockShape, trained: Collection[int]) -> tuple[ChannelGroup, ...]:
        """The channels on either side of the k×k convolution; those between blocks are shared by sums, and stay."""
        bounds = tuple(sorted(trained))

        def group(reader: str, producer: str) -> ChannelGroup:
            prefix = shape.prefix
            norm = [Axis(f"{prefix}{producer}_bn.{part}", 0) for part in ElasticBatchNorm.STATE]
            readers = (Axis(f"{prefix}{reader}.weight", 1),)
            return ChannelGroup(readers, (Axis(f"{prefix}{producer}.weight", 0), *norm), bounds)

        return group(reader="conv3", producer="conv2"), group(reader="conv2", producer="conv1")

    @staticmethod
    def last_norm(shape: BlockShape) -> str:
        return f"{shape.prefix}conv3_bn"

    def compute(self, operations: Operations, x: Tensor, shape: BlockShape, full: bool) -> Tensor:
        y: Any = self.conv1(operations, x, shape.middle)
        y = self.conv1_bn(operations, y, full, shape.activation)
        y = self.conv2(operations, y, shape.middle)
        y = self.conv2_bn(operations, y, full, shape.activation)
        y = self.conv3_bn(operations, self.conv3(operations, y, shape.outputs), full, "identity")
        return self.add(operations, y, self._shortcut(operations, x, shape, full), shape, full, shape.activation)

    def _shortcut(self, operations: Operations, x: Tensor, shape: BlockShape, full: bool) -> Tensor | None:
        if shape.shortcut != "projected":
            return x if shape.shortcut == "identity" else None
        y = self.shortcut(operations, _pooled(x, shape), shape.outputs)
        return operations.settle(self.shortcut_bn(operations, y, full, "identity"), None)


class Bottleneck(Path):
    """The static bottleneck of a shape: x [N, inputs, H, W] to [N, outputs, ⌈H / stride⌉, ⌈W / stride⌉]."""

    shortcut: nn.Module
    shortcut_bn: nn.Module

    def __init__(self, shape: BlockShape) -> None:
        layers = {layer.name: layer for layer in _layers(shape, "")}
        super().__init__([step for name in ("conv1", "conv2", "conv3") for step in plain_layer(layers[name])])
        self.shape = shape
        self.activation = ACTIVATIONS[shape.activation]()
        if shape.shortcut == "projected":
            for name, module in plain_layer(layers["shortcut"]):
                self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if self.shape.shortcut == "projected":
            x = self.shortcut_bn(self.shortcut(_pooled(x, self.shape)))
        return self.activation(y if self.shape.shortcut == "none" else x + y)


def _layers(shape: BlockShape, prefix: str) -> Iterator[Layer]:
    def conv(name: str, inputs: int, outputs: int, side: int, **more: Any) -> Layer:
        norm = f"{prefix}{name}_bn"
        return Layer(f"{prefix}{name}", "conv", inputs, outputs, side=side, norm=norm, epsilon=shape.epsilon, **more)

    side, activation = strided(shape.side, shape.stride), shape.activation
    yield conv("conv1", shape.inputs, shape.middle, shape.side, activation=activation)
    yield conv(
        "conv2", shape.middle, shape.middle, side, kernel=shape.kernel, stride=shape.stride, activation=activation
    )
    yield conv("conv3", shape.middle, shape.outputs, side)
    if shape.shortcut == "projected":
        yield conv("shortcut", shape.inputs, shape.outputs, side)


def _pooled(x: Tensor, shape: BlockShape) -> Tensor:
    """The input at the output's size: a last odd row or column is the mean of the pixels that there are."""
    return x if shape.stride == 1 else F.avg_pool2d(x, shape.stride, shape.stride, ceil_mode=True)
