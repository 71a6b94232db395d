"""The frozen teacher: a second supernet that no step changes, whole on every process of every engine."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.supernet.layers import ElasticBatchNorm
from pipeline.supernet.supernet import Supernet


class FrozenTeacher:
    """The full model of earlier weights, where a method has frozen them.

    Args:
        like: the supernet that is trained: of the same space, precision and kernels.
    """

    def __init__(self, like: Supernet) -> None:
        self._like = like
        weight = next(like.parameters())
        self._device, self._dtype = weight.device, weight.dtype
        self._supernet: Supernet | None = None

    def load(self, weights: Mapping[str, Tensor] | None) -> None:
        """Take over weights, by name and unsharded; None for no teacher."""
        if weights is None:
            self._supernet = None
            return
        if self._supernet is None:
            supernet = self._like.blank(self._device).to(self._dtype).requires_grad_(False).train()
            supernet.dropout.p = 0.0
            for layer in supernet.modules():
                if isinstance(layer, ElasticBatchNorm):
                    layer.momentum = 0.0  # it computes by each batch's own statistics, and keeps none
            self._supernet = supernet
        self._supernet.load_state_dict(weights)

    def weights(self) -> dict[str, Tensor] | None:
        """What `load` took, on the CPU."""
        if self._supernet is None:
            return None
        return {name: tensor.detach().cpu().clone() for name, tensor in self._supernet.state_dict().items()}

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Logits [N, classes], float32, for normalised images [N, 3, H, W]: by batch statistics, without dropout."""
        assert self._supernet is not None, "a phase that is taught comes after one that froze a teacher"
        return self._supernet(images, self._supernet.space.largest())
