"""The weight-shared supernet of any space: `logits = supernet(images, subnet)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels import reference
from kernels.dispatch import KernelChoice, operations_for
from kernels.operations import Operations
from pipeline.supernet.blocks import BLOCKS
from pipeline.supernet.blocks.block import ElasticBlock
from pipeline.supernet.layer import BlockShape, Layer
from pipeline.supernet.layers import ElasticBatchNorm, ElasticConv, ElasticLinear, ElasticPointwise, resize
from pipeline.supernet.part import StageSpace
from pipeline.supernet.shapes import parts
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet


class Trunk(NamedTuple):
    """What all subnets compute alike from a batch: the stem's output [N, C, H, W], or the images where it varies."""

    features: Tensor


class Supernet(nn.Module):
    """One set of weights for all subnets of a space.

    The subnet is an argument of every call, never hidden state. Dropout acts on the full model only, and only the
    full model updates the running batch-norm statistics; any other subnet's statistics come from
    recalibration. A pass without gradients does neither: it is no training of the full model.

    Args:
        space: parts and choices.
        dropout: probability before the classifier.
        bf16: compute under autocast to bfloat16; weights and logits stay float32.
        kernels: whose operations compute the elastic layers; see `kernels.dispatch`.
        recompute: keep of each block its input alone, and compute it again for backward (activation checkpointing).
        drop_connect: rate of the last two stages' blocks in training of the full model: the i-th of n blocks drops with
            probability rate · i / n, counted over all stages (AttentiveNAS).
    """

    def __init__(
        self,
        space: Space,
        dropout: float = 0.0,
        bf16: bool = False,
        kernels: KernelChoice = "auto",
        recompute: bool = False,
        drop_connect: float = 0.0,
    ) -> None:
        super().__init__()
        self.space = space
        self.bf16 = bf16
        self.kernels: KernelChoice = kernels
        self.recompute = recompute
        stem, stages, head = parts(space, space.largest())
        *features, classifier = head
        self._stem = stem  # the same in all subnets where they share it
        self._add(layer for layer in stem if isinstance(layer, Layer))
        blocks = (part for part in (*stem, *stages) if isinstance(part, BlockShape))
        self.blocks = nn.ModuleList(
            BLOCKS[shape.kind](stage, shape, recompute) for stage, shape in zip(_stages(space), blocks, strict=True)
        )
        dropping = sum(stage.depths[-1] for stage in space.stages[-2:])
        for index in range(len(self.blocks) - dropping, len(self.blocks)):
            block = self.blocks[index]
            assert isinstance(block, ElasticBlock)
            block.drop_connect = drop_connect * index / len(self.blocks)
        self.drop_connect = drop_connect
        self._add(features)
        self.dropout = nn.Dropout(dropout)
        self._add([classifier])
        nn.init.zeros_(self.get_parameter(f"{classifier.name}.bias"))

    @property
    def shares_trunk(self) -> bool:
        """Whether all subnets begin with the same computation, which a step needs once."""
        return self.space.shares_stem

    def units(self) -> list[nn.Module]:
        """The modules whose weights are gathered and sharded together, each when it computes."""
        return list(self.blocks)

    def blank(self, device: torch.device | str = "meta") -> Supernet:
        """The same supernet on `device`, without values in its weights; on the meta device without memory."""
        with torch.device("meta"):
            copy = Supernet(self.space, self.dropout.p, self.bf16, self.kernels, self.recompute, self.drop_connect)
        return copy.to_empty(device=device).train(self.training)

    def trunk(self, images: Tensor, full: bool) -> Trunk:
        """What all subnets compute alike from normalised images [N, 3, H, W]; a step needs it once.

        Args:
            full: whether the full model is among the subnets, so that the running statistics move.
        """
        if not self.shares_trunk:
            return Trunk(images)
        with self._autocast(images.device.type):
            return Trunk(self.through(self.operations(images.device.type), self._stem, images, full))

    def forward(
        self, images: Tensor | Trunk, subnet: Subnet, logits: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Logits [N, classes] of `subnet`, float32 at least, for normalised images [N, 3, H, W] or for their trunk.

        Args:
            logits: what computes them from the trunk's features in `self.logits`' stead: a captured graph.
        """
        trunk = images if isinstance(images, Trunk) else self.trunk(images, self.space.is_full(subnet))
        if logits is None or not torch.is_grad_enabled():  # graphs are of training
            return self.logits(trunk.features, subnet)
        return logits(trunk.features)

    def logits(self, features: Tensor, subnet: Subnet) -> Tensor:
        """Logits of `subnet` from its trunk's features."""
        with self._autocast(features.device.type):
            logits = self._logits(features, subnet)
        return logits.to(torch.promote_types(logits.dtype, torch.float32))

    def through(self, operations: Operations, computed: Iterable[Layer | BlockShape], x: Any, full: bool) -> Any:
        """The output of parts that follow each other (`shapes.parts`), for the output x of the part before them.

        Args:
            operations: whose compute them.
            full: whether they are the full model's, whose running statistics move in training.
        """
        for part in computed:
            if isinstance(part, BlockShape):
                x = self.blocks[part.index](operations, x, part, full)
            else:
                x = self._layer(operations, part, x, full)
        return x

    def operations(self, device: str) -> Operations:
        """Whose operations compute the elastic layers on a device of this type ("cpu", "cuda")."""
        return operations_for(self.kernels, device, torch.bfloat16 if self.bf16 else next(self.parameters()).dtype)

    def _logits(self, x: Tensor, subnet: Subnet) -> Tensor:
        full = torch.is_grad_enabled() and self.space.is_full(subnet)
        operations = self.operations(x.device.type)
        stem, stages, head = parts(self.space, subnet)
        *features, classifier = head
        x = self.through(operations, (*(() if self.shares_trunk else stem), *stages, *features), x, full)
        if full:
            x = self.dropout(x)
        return self.through(operations, [classifier], x, full)

    def _layer(self, operations: Operations, layer: Layer, x: Any, full: bool) -> Any:
        if layer.kind == "pool":
            return operations.pool(x)
        if layer.kind == "max_pool":
            return F.max_pool2d(operations.settle(x, None), layer.kernel, layer.stride, layer.kernel // 2)
        if layer.kind == "resize":
            return resize(x, layer.side)
        x = getattr(self, layer.name)(operations, x, layer.outputs)
        if layer.norm is None:
            return reference.ACTIVATIONS[layer.activation](x)
        return getattr(self, layer.norm)(operations, x, full, layer.activation)

    def _add(self, layers: Iterable[Layer]) -> None:
        """Modules for the largest size of each layer, and for the batch norms."""
        for layer in layers:
            if layer.has_weights:
                self.add_module(layer.name, _elastic(layer))
            if layer.norm is not None:
                self.add_module(layer.norm, ElasticBatchNorm(layer.outputs, layer.epsilon))

    def _autocast(self, device: str) -> torch.autocast:
        # No weight is used twice in a pass, so nothing is gained by keeping casts, which graphs do not allow.
        return torch.autocast(device, torch.bfloat16, enabled=self.bf16, cache_enabled=False)


def _elastic(layer: Layer) -> nn.Module:
    if layer.kind == "linear":
        return ElasticLinear(layer.inputs, layer.outputs, bias=layer.bias)
    if layer.kernel == layer.stride == 1:
        return ElasticPointwise(layer.inputs, layer.outputs)
    return ElasticConv(layer.inputs, layer.outputs, layer.kernel, layer.stride)


def _stages(space: Space) -> list[StageSpace]:
    """The stage of each block."""
    stages = (part for part in (*space.stem, *space.stages) if isinstance(part, StageSpace))
    return [stage for stage in stages for _ in range(stage.depths[-1])]


# Names that no layer of a stem or head can have.
RESERVED = frozenset({"blocks", "dropout", "space", "bf16", "kernels", "recompute", "drop_connect", *dir(Supernet)})
