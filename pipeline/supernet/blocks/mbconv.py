"""MBConv, the inverted bottleneck: expand 1×1, depthwise k×k, squeeze-and-excite, project 1×1 (`point-linear`)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from kernels.operations import Operations
from pipeline.supernet.blocks.block import Axis, ChannelGroup, ElasticBlock
from pipeline.supernet.layer import BlockShape, Layer, reduced_channels, round_channels, strided
from pipeline.supernet.layers import ElasticBatchNorm, ElasticDepthwise, ElasticPointwise, ElasticSqueezeExcite
from pipeline.supernet.part import StageSpace
from pipeline.supernet.plain import Path, plain_layer


class ElasticMBConv(ElasticBlock):
    """See `ElasticBlock`. MobileNetV2 (Sandler et al., CVPR 2018, §3.3), in MobileNetV3 with squeeze-and-excite.

    A projected shortcut is AttentiveNAS's (Wang et al., CVPR 2021): pooled where the block strides, through a 1×1
    convolution where the channels differ, without batch norm.
    """

    def __init__(self, stage: StageSpace, shape: BlockShape, recompute: bool) -> None:
        super().__init__(stage, shape, recompute)
        if shape.has_expand_conv:
            self.expand = ElasticPointwise(shape.inputs, shape.middle)
            self.expand_bn = ElasticBatchNorm(shape.middle, shape.epsilon)
        kernels = stage.kernels if stage.has_transforms else stage.kernels[-1:]
        self.depthwise = ElasticDepthwise(shape.middle, kernels)
        self.depthwise_bn = ElasticBatchNorm(shape.middle, shape.epsilon)
        if shape.squeeze_excite:
            self.squeeze_excite = ElasticSqueezeExcite(shape.middle, shape.reduced)
        self.project = ElasticPointwise(shape.middle, shape.outputs)
        self.project_bn = ElasticBatchNorm(shape.outputs, shape.epsilon)
        if stage.starts_as_shortcut:
            nn.init.zeros_(self.project_bn.weight)
        if stage.shortcut == "projected":  # in every block, as published weights have it, though not in all it can run
            self.shortcut = ElasticPointwise(shape.inputs, shape.outputs)

    @staticmethod
    def middle(inputs: int, outputs: int, expand: float) -> int:
        return round_channels(inputs * expand)

    @staticmethod
    def layers(shape: BlockShape) -> tuple[Layer, ...]:
        return tuple(_layers(shape, shape.prefix))

    @staticmethod
    def plain(shape: BlockShape) -> nn.Module:
        return MBConv(shape)

    @staticmethod
    def channel_groups(shape: BlockShape, trained: Collection[int]) -> tuple[ChannelGroup, ...]:
        """The middle channels, and those between squeeze-and-excite's layers."""
        if not shape.has_expand_conv:
            return ()
        prefix, se = shape.prefix, f"{shape.prefix}squeeze_excite."
        weights = [f"{prefix}expand.weight", f"{prefix}depthwise.weight"]
        norms = [f"{prefix}{norm}.{part}" for norm in ("expand_bn", "depthwise_bn") for part in ElasticBatchNorm.STATE]
        gate = [f"{se}expand.weight", f"{se}expand.bias"] if shape.squeeze_excite else []
        middle = ChannelGroup(
            readers=(
                Axis(f"{prefix}project.weight", 1),
                *([Axis(f"{se}reduce.weight", 1)] if shape.squeeze_excite else []),
            ),
            producers=tuple(Axis(name, 0) for name in (*weights, *norms, *gate)),
            bounds=tuple(sorted(trained)),
        )
        if not shape.squeeze_excite:
            return (middle,)
        reduced = ChannelGroup(
            readers=(Axis(f"{se}expand.weight", 1),),
            producers=(Axis(f"{se}reduce.weight", 0), Axis(f"{se}reduce.bias", 0)),
            bounds=tuple(sorted({reduced_channels(each) for each in trained})),
        )
        return (middle, reduced)

    @staticmethod
    def last_norm(shape: BlockShape) -> str:
        return f"{shape.prefix}project_bn"

    def compute(self, operations: Operations, x: Tensor, shape: BlockShape, full: bool) -> Tensor:
        y: Any = x
        if shape.has_expand_conv:
            y = self.expand(operations, y, shape.middle)
            y = self.expand_bn(operations, y, full, shape.activation)
        y = self.depthwise(operations, y, shape.kernel, shape.stride)
        y = self.depthwise_bn(operations, y, full, shape.activation)
        if shape.squeeze_excite:
            y = self.squeeze_excite(operations, y, shape.reduced)
        y = self.project_bn(operations, self.project(operations, y, shape.outputs), full, "identity")
        return self.add(operations, y, self._shortcut(operations, x, shape), shape, full)

    def _shortcut(self, operations: Operations, x: Tensor, shape: BlockShape) -> Tensor | None:
        if shape.shortcut == "none":
            return None
        x = _pooled(x, shape)
        return operations.conv(x, self.shortcut.weight, shape.outputs, stride=1) if _projects(shape) else x


class MBConv(Path):
    """The static inverted bottleneck of a shape: x [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""

    shortcut: nn.Module

    def __init__(self, shape: BlockShape) -> None:
        layers = {layer.name: layer for layer in _layers(shape, "")}
        gate = [("squeeze_excite", SqueezeExcite(shape.middle, shape.reduced))] if shape.squeeze_excite else []
        expand = plain_layer(layers["expand"]) if shape.has_expand_conv else []
        super().__init__([*expand, *plain_layer(layers["depthwise"]), *gate, *plain_layer(layers["project"])])
        self.shape = shape
        if _projects(shape):
            self.add_module(*plain_layer(layers["shortcut"])[0])

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        if self.shape.shortcut == "none":
            return y
        x = _pooled(x, self.shape)
        return (self.shortcut(x) if _projects(self.shape) else x) + y


class SqueezeExcite(Path):
    """Squeeze-and-excite (Hu et al., CVPR 2018), gated by a hard sigmoid (MobileNetV3, Howard et al., ICCV 2019)."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__(
            [
                ("pool", nn.AdaptiveAvgPool2d(1)),
                ("flatten", nn.Flatten()),
                ("reduce", nn.Linear(channels, reduced)),
                ("activation", nn.ReLU()),
                ("expand", nn.Linear(reduced, channels)),
                ("gate", nn.Hardsigmoid()),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(x)[:, :, None, None]


def _layers(shape: BlockShape, prefix: str) -> Iterator[Layer]:
    def conv(name: str, inputs: int, outputs: int, side: int, **more: Any) -> Layer:
        norm = f"{prefix}{name}_bn"
        return Layer(f"{prefix}{name}", "conv", inputs, outputs, side=side, norm=norm, epsilon=shape.epsilon, **more)

    side = strided(shape.side, shape.stride)
    if shape.has_expand_conv:
        yield conv("expand", shape.inputs, shape.middle, shape.side, activation=shape.activation)
    depthwise = conv("depthwise", shape.middle, shape.middle, side, kernel=shape.kernel, stride=shape.stride)
    yield depthwise._replace(kind="depthwise", activation=shape.activation)
    if shape.squeeze_excite:
        reduce, expand = f"{prefix}squeeze_excite.reduce", f"{prefix}squeeze_excite.expand"
        yield Layer(reduce, "linear", shape.middle, shape.reduced, activation="relu", bias=True)
        yield Layer(expand, "linear", shape.reduced, shape.middle, activation="h_sigmoid", bias=True)
    yield conv("project", shape.middle, shape.outputs, side)
    if _projects(shape):
        yield Layer(f"{prefix}shortcut", "conv", shape.inputs, shape.outputs, side=side)


def _projects(shape: BlockShape) -> bool:
    """Whether a convolution brings the shortcut to the output's channels."""
    return shape.shortcut == "projected" and shape.inputs != shape.outputs


def _pooled(x: Tensor, shape: BlockShape) -> Tensor:
    """The shortcut of x at the output's size; at odd sizes the means of 2×2 count the padded zeros (AttentiveNAS)."""
    return x if shape.stride == 1 else F.avg_pool2d(x, 2, 2, padding=x.shape[-1] % 2)
