"""What a step gets of a batch that a reader hands over: moved to the device once, varied and normalised there."""

from __future__ import annotations

import torch
from torch import Tensor

from data_shards.augmentation.crops import Augmentation
from data_shards.augmentation.normalise import normalise
from data_shards.augmentation.on_device import augment_on_device
from data_shards.loading.batch_reader import Batch


def feed(batch: Batch, device: torch.device, augmentation: Augmentation, classes: int) -> tuple[Tensor, Tensor]:
    """Normalised images and labels, on `device`.

    From pinned memory, as readers leave it where there is a GPU, the host does not wait for any of it.

    Returns:
        float32 [N, 3, H, W] in channels_last; int64 [N], or float [N, classes] where images are mixed.
    """
    images, labels, draws = (part.to(device, non_blocking=True) for part in (batch.images, batch.labels, batch.draws))
    images, labels = augment_on_device(images, labels, draws, augmentation, classes)
    return normalise(images), labels
