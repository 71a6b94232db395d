"""The part of augmentation that is done on the device, once per batch: colour jitter, erasing, mixup and cutmix."""

from __future__ import annotations

import torch
from torch import Tensor

from data_shards.augmentation import draws as columns
from data_shards.augmentation.config import Augmentation


def augment_on_device(
    images: Tensor, labels: Tensor, draws: Tensor, augmentation: Augmentation, classes: int
) -> tuple[Tensor, Tensor]:
    """Images and labels as the network shall see them, but for normalisation. All tensors are on one device.

    Args:
        images: uint8 [N, H, W, 3]; labels: int64 [N].
        draws: float32 [N, COLUMNS], see `data_shards.augmentation.draws`.

    Returns:
        Float images [N, H, W, 3] in 0 … 255, and labels int64 [N], or float [N, classes] where images are mixed: rows
        that sum to one. With nothing to do here, the arguments themselves.
    """
    if not augmentation.on_device:
        return images, labels
    pixels = images.float()  # a copy, and from here on the same memory wherever an operation permits
    if augmentation.jitters:
        pixels = _recolour(pixels, draws)
    if augmentation.erases:
        fill = draws[:, columns.FILL][:, None, None, :]
        torch.where(_inside(draws[:, columns.ERASED], pixels), fill, pixels, out=pixels)
    if augmentation.mixes:
        _mix(pixels, draws, boxes=augmentation.cutmix > 0)
        labels = _mix_labels(labels, draws[:, columns.LABEL_SHARE], classes)
    return pixels, labels


def _recolour(pixels: Tensor, draws: Tensor) -> Tensor:
    N, H, W, _ = pixels.shape
    matrix = draws[:, columns.MATRIX].view(N, 3, 3)
    offset = (draws[:, columns.GREY] * pixels.mean(dim=(1, 2))).sum(dim=1)  # [N]
    changed = torch.baddbmm(offset[:, None, None], pixels.view(N, H * W, 3), matrix.transpose(1, 2))
    return changed.clamp_(0, 255).view(N, H, W, 3)


def _mix(pixels: Tensor, draws: Tensor, boxes: bool) -> None:
    own = draws[:, columns.BLEND, None, None]  # [N, 1, 1, 1]
    if boxes:
        own = torch.where(_inside(draws[:, columns.PASTED], pixels), 0, own)  # [N, H, W, 1]
    torch.lerp(_partners(pixels), pixels, own, out=pixels)


def _mix_labels(labels: Tensor, own: Tensor, classes: int) -> Tensor:
    mixed = own.new_zeros(len(labels), classes)
    mixed.scatter_add_(1, labels[:, None], own)
    return mixed.scatter_add_(1, _partners(labels)[:, None], 1 - own)


def _partners(batch: Tensor) -> Tensor:
    """Neighbours swapped: positions 1, 0, 3, 2 …"""
    return batch.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def _inside(boxes: Tensor, pixels: Tensor) -> Tensor:
    """Which pixels lie in boxes [N, 4] (x, y, width, height): bool [N, H, W, 1]."""
    x, y, w, h = boxes[:, :, None].unbind(1)  # [N, 1] each
    rows, columns_ = (torch.arange(side, device=pixels.device) for side in pixels.shape[1:3])
    down = (rows >= y) & (rows < y + h)  # [N, H]
    across = (columns_ >= x) & (columns_ < x + w)  # [N, W]
    return (down[:, :, None] & across[:, None, :])[..., None]
