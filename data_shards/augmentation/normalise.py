"""From the reader's bytes to what the network sees, on the device and once per step."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from data_shards.augmentation.colour import MEAN_COLOUR

# ImageNet's channel statistics, which the literature uses for every data set of natural images.
_STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor) -> Tensor:
    """uint8 or float [N, H, W, 3], in 0 … 255, to float32 [N, 3, H, W] in channels_last, on the same device.

    Channels of natural images get mean 0 and deviation 1.
    """
    mean, scale = _constants(images.device)
    # The reader's layout already is channels_last: only the order of the dimensions' names changes.
    return (images - mean).mul_(scale).permute(0, 3, 1, 2)


@functools.cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and 1 / deviation, float32 [3]: made once per device, as the host waits for it to take them over."""
    return torch.tensor(MEAN_COLOUR).to(device), (1 / (torch.tensor(_STD) * 255)).to(device)
