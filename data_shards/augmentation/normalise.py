"""Normalises the images of a batch, on the device: natural images get mean 0 and deviation 1 in each channel."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from data_shards.augmentation.colour import MEAN_COLOUR

# ImageNet's channel statistics, which the literature uses for every data set of natural images.
STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """Normalised images, in the layout of the network.

    Args:
        images: uint8 or float32 RGB [N, H, W, 3], in 0 … 255.

    Returns:
        float32 [N, 3, H, W] in channels_last, on the same device.
    """
    mean, scale = _constants(images.device)
    # The reader's layout is channels_last already: only the dimensions are named in another order.
    return (images - mean).mul_(scale).permute(0, 3, 1, 2)


@functools.cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and 1 / deviation, float32 [3]. Made once per device, as the host waits while they are copied there."""
    return torch.tensor(MEAN_COLOUR).to(device), (1 / (torch.tensor(STD) * 255)).to(device)
