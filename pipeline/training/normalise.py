"""From the reader's bytes to what the network sees, on the device and once per step."""

from __future__ import annotations

import torch
from torch import Tensor

from data_shards.colour import MEAN_COLOUR

# ImageNet's channel statistics, which the literature uses for every data set of natural images.
_STD = (0.229, 0.224, 0.225)


def normalise(images: Tensor, device: torch.device) -> Tensor:
    """uint8 or float [N, H, W, 3], in 0 … 255, to float32 [N, 3, H, W] in channels_last.

    Channels of natural images get mean 0 and deviation 1.
    """
    mean = torch.tensor(MEAN_COLOUR, device=device)
    scale = 1 / (torch.tensor(_STD, device=device) * 255)
    on_device = images.to(device, non_blocking=True)
    # The reader's layout already is channels_last: only the order of the dimensions' names changes.
    return ((on_device.float() - mean) * scale).permute(0, 3, 1, 2)
