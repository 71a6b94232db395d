"""The weight-shared MobileNetV3 supernet: `logits = supernet(images, subnet)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from kernels import reference
from kernels.dispatch import KernelChoice, operations_for
from kernels.operations import Operations
from pipeline.supernet.layers import (
    ElasticBatchNorm,
    ElasticDepthwise,
    ElasticLinear,
    ElasticPointwise,
    ElasticSqueezeExcite,
)
from pipeline.supernet.space import BlockShape, Space, Subnet


class Trunk(NamedTuple):
    """What all subnets compute alike from a batch: the output [N, C, H, W] of the stem and the fixed first block."""

    features: Tensor


class Supernet(nn.Module):
    """OFA's MobileNetV3 (Cai et al., ICLR 2020) with elastic depth, kernel size and expand ratio.

    The subnet is an argument of every call, never hidden state. Dropout acts on the full model only, and only the
    full model updates the running batch-norm statistics (METHOD §2); any other subnet's statistics come from
    recalibration.

    Args:
        space: shapes and choices.
        dropout: probability before the classifier.
        bf16: compute under autocast to bfloat16; weights and logits stay float32.
        kernels: whose operations compute the elastic layers; see `kernels.dispatch`.
        recompute: keep of each block its input alone, and compute it again for backward (activation checkpointing).
    """

    def __init__(
        self,
        space: Space,
        dropout: float = 0.0,
        bf16: bool = False,
        kernels: KernelChoice = "auto",
        recompute: bool = False,
    ) -> None:
        super().__init__()
        self.space = space
        self.bf16 = bf16
        self.kernels: KernelChoice = kernels
        self.graphs: dict[Subnet, Callable[[Tensor], Tensor]] = {}  # captured ones, from features to logits
        self.stem = nn.Conv2d(3, space.stem, 3, space.stem_stride, padding=1, bias=False)
        nn.init.kaiming_normal_(self.stem.weight, mode="fan_out")
        self.stem_bn = ElasticBatchNorm(space.stem)
        self.blocks = nn.ModuleList(
            ElasticMBConv(shape, (3,) if shape.index == 0 else space.kernels, recompute)
            for shape in space.blocks(space.largest())
        )
        expanded, mixed = space.last
        self.final_expand = ElasticPointwise(space.stages[-1].channels, expanded)
        self.final_bn = ElasticBatchNorm(expanded)
        self.feature_mix = ElasticLinear(expanded, mixed, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.classifier = ElasticLinear(mixed, space.classes)
        nn.init.zeros_(self.classifier.bias)

    def trunk(self, images: Tensor, full: bool) -> Trunk:
        """What all subnets compute alike from normalised images [N, 3, H, W]; a step needs it once.

        Args:
            full: whether the full model is among the subnets, so that the running statistics move.
        """
        with self._autocast(images.device.type):
            # Three input channels, of the same width in all subnets: a plain convolution.
            x = self.stem_bn(reference, self.stem(images), full, "h_swish")
            first = next(self.space.blocks(self.space.largest()))
            return Trunk(self.blocks[0](self.operations(x.device.type), x, first, full))

    def forward(self, images: Tensor | Trunk, subnet: Subnet) -> Tensor:
        """Logits [N, classes] of `subnet`, float32, for normalised images [N, 3, H, W] or for their trunk."""
        trunk = images if isinstance(images, Trunk) else self.trunk(images, self.space.is_full(subnet))
        captured = self.graphs.get(subnet) if self.training else None
        return self.logits(trunk.features, subnet) if captured is None else captured(trunk.features)

    def logits(self, features: Tensor, subnet: Subnet) -> Tensor:
        """Logits of `subnet` from its trunk's features."""
        with self._autocast(features.device.type):
            return self._logits(features, subnet).float()

    def operations(self, device: str) -> Operations:
        """Whose operations compute the elastic layers on a device of this type ("cpu", "cuda")."""
        return operations_for(self.kernels, device, torch.bfloat16 if self.bf16 else self.stem.weight.dtype)

    def _logits(self, x: Tensor, subnet: Subnet) -> Tensor:
        full = self.space.is_full(subnet)
        operations = self.operations(x.device.type)
        _first, *shapes = self.space.blocks(subnet)
        for shape in shapes:
            x = self.blocks[shape.index](operations, x, shape, full)
        y = self.final_bn(operations, self.final_expand(operations, x, self.space.last[0]), full, "h_swish")
        features = F.hardswish(self.feature_mix(operations, operations.pool(y), self.space.last[1]))  # [N, mixed]
        if full:
            features = self.dropout(features)
        return self.classifier(operations, features, self.space.classes)

    def _autocast(self, device: str) -> torch.autocast:
        # No weight is used twice in a pass, so nothing is gained by keeping casts, which graphs do not allow.
        return torch.autocast(device, torch.bfloat16, enabled=self.bf16, cache_enabled=False)


class ElasticMBConv(nn.Module):
    """Inverted bottleneck: expand 1×1, depthwise k×k, squeeze-and-excite, project 1×1 (`point-linear`)."""

    def __init__(self, shape: BlockShape, kernels: tuple[int, ...], recompute: bool) -> None:
        super().__init__()
        self.recompute = recompute
        if shape.has_expand_conv:
            self.expand = ElasticPointwise(shape.inputs, shape.expanded)
            self.expand_bn = ElasticBatchNorm(shape.expanded)
        self.depthwise = ElasticDepthwise(shape.expanded, kernels)
        self.depthwise_bn = ElasticBatchNorm(shape.expanded)
        if shape.squeeze_excite:
            self.squeeze_excite = ElasticSqueezeExcite(shape.expanded, shape.reduced)
        self.project = ElasticPointwise(shape.expanded, shape.outputs)
        self.project_bn = ElasticBatchNorm(shape.outputs)

    def forward(self, operations: Operations, x: Tensor, shape: BlockShape, full: bool) -> Tensor:
        if not (self.recompute and self.training and torch.is_grad_enabled()):
            return self._compute(operations, x, shape, full)
        return checkpoint(
            self._compute,
            operations,
            x,
            shape,
            full,
            use_reentrant=False,
            preserve_rng_state=False,  # nothing in a block is random
            context_fn=lambda: (nullcontext(), self._statistics_kept()),
        )

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

    def _compute(self, operations: Operations, x: Tensor, shape: BlockShape, full: bool) -> Tensor:
        y: Any = x
        if shape.has_expand_conv:
            y = self.expand(operations, y, shape.expanded)
            y = self.expand_bn(operations, y, full, shape.activation)
        y = self.depthwise(operations, y, shape.kernel, shape.stride)
        y = self.depthwise_bn(operations, y, full, shape.activation)
        if shape.squeeze_excite:
            y = self.squeeze_excite(operations, y, shape.reduced)
        y = self.project_bn(operations, self.project(operations, y, shape.outputs), full, "identity")
        return operations.settle(y, x if shape.has_residual else None)
