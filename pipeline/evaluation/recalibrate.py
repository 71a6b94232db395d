"""Batch-norm recalibration: a subnet's statistics, recomputed from training images (Yu and Huang, ICCV 2019)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Reset the running statistics of `network` and average them cumulatively over `batches`.

    Args:
        network: a plain network (`supernet.extract`), left in evaluation mode.
        batches: normalised images [N, 3, H, W], of equal size so that every image weighs the same.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [layer.momentum for layer in layers]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.train()
    for number, images in enumerate(batches, start=1):
        for layer in layers:
            # A cumulative average. torch's own, `momentum=None`, would wait for the device to tell the number.
            layer.momentum = 1 / number
        network(images)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
