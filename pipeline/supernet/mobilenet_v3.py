"""The weight-shared MobileNetV3 supernet: `logits = supernet(images, subnet)`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kernels.reference import ACTIVATIONS
from pipeline.supernet.layers import ElasticBatchNorm, ElasticDepthwise, ElasticPointwise, ElasticSqueezeExcite
from pipeline.supernet.space import BlockShape, Space, Subnet


class Supernet(nn.Module):
    """OFA's MobileNetV3 (Cai et al., ICLR 2020) with elastic depth, kernel size and expand ratio.

    The subnet is an argument of every call, never hidden state. Dropout acts on the full model only, and only the
    full model updates the running batch-norm statistics (METHOD §2); any other subnet's statistics come from
    recalibration.

    Args:
        space: shapes and choices.
        dropout: probability before the classifier.
        bf16: compute under autocast to bfloat16; weights and logits stay float32.
    """

    def __init__(self, space: Space, dropout: float = 0.0, bf16: bool = False) -> None:
        super().__init__()
        self.space = space
        self.bf16 = bf16
        self.stem = nn.Conv2d(3, space.stem, 3, space.stem_stride, padding=1, bias=False)
        nn.init.kaiming_normal_(self.stem.weight, mode="fan_out")
        self.stem_bn = ElasticBatchNorm(space.stem)
        self.blocks = nn.ModuleList(
            ElasticMBConv(shape, (3,) if shape.index == 0 else space.kernels) for shape in space.blocks(space.largest())
        )
        expanded, mixed = space.last
        self.final_expand = ElasticPointwise(space.stages[-1].channels, expanded)
        self.final_bn = ElasticBatchNorm(expanded)
        self.feature_mix = nn.Linear(expanded, mixed, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(mixed, space.classes)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor, subnet: Subnet) -> Tensor:
        """Logits [N, classes] of `subnet`, float32, for normalised images [N, 3, H, W]."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            return self._logits(images, subnet).float()

    def _logits(self, images: Tensor, subnet: Subnet) -> Tensor:
        full = self.space.is_full(subnet)
        h_swish = ACTIVATIONS["h_swish"]
        x = h_swish(self.stem_bn(self.stem(images), full))
        for shape in self.space.blocks(subnet):
            x = self.blocks[shape.index](x, shape, full)
        x = h_swish(self.final_bn(self.final_expand(x, self.space.last[0]), full))
        features = h_swish(self.feature_mix(x.mean((2, 3))))  # [N, mixed]
        if full:
            features = self.dropout(features)
        return self.classifier(features)


class ElasticMBConv(nn.Module):
    """Inverted bottleneck: expand 1×1, depthwise k×k, squeeze-and-excite, project 1×1 (`point-linear`)."""

    def __init__(self, shape: BlockShape, kernels: tuple[int, ...]) -> None:
        super().__init__()
        if shape.has_expand_conv:
            self.expand = ElasticPointwise(shape.inputs, shape.expanded)
            self.expand_bn = ElasticBatchNorm(shape.expanded)
        self.depthwise = ElasticDepthwise(shape.expanded, kernels)
        self.depthwise_bn = ElasticBatchNorm(shape.expanded)
        if shape.squeeze_excite:
            self.squeeze_excite = ElasticSqueezeExcite(shape.expanded, shape.reduced)
        self.project = ElasticPointwise(shape.expanded, shape.outputs)
        self.project_bn = ElasticBatchNorm(shape.outputs)

    def forward(self, x: Tensor, shape: BlockShape, full: bool) -> Tensor:
        activation = ACTIVATIONS[shape.activation]
        y = x
        if shape.has_expand_conv:
            y = activation(self.expand_bn(self.expand(y, shape.expanded), full))
        y = activation(self.depthwise_bn(self.depthwise(y, shape.kernel, shape.stride), full))
        if shape.squeeze_excite:
            y = self.squeeze_excite(y, shape.reduced)
        y = self.project_bn(self.project(y, shape.outputs), full)
        return x + y if shape.has_residual else y
