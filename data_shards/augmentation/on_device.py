"""What is done to a batch on the device: colour jitter, random erasing, mixup and cutmix."""

from __future__ import annotations

import torch
from torch import Tensor

from data_shards.augmentation import draws as columns
from data_shards.augmentation.config import Augmentation


def augment_on_device(
    images: Tensor, labels: Tensor, draws: Tensor, augmentation: Augmentation, classes: int
) -> tuple[Tensor, Tensor]:
    """The images and labels to train on, not normalised yet. All tensors are on one device.

    Args:
        images: uint8 RGB [N, H, W, 3].
        labels: int64 [N].
        draws: float32 [N, COLUMNS], as `augmentation.draws` has drawn it.
        classes: number of classes.

    Returns:
        Images, float32 [N, H, W, 3] in 0 … 255; labels, int64 [N], or where images are mixed float32 [N, classes],
        whose rows sum to one. Where there is nothing to do, the arguments themselves.
    """
    if not augmentation.on_device:
        return images, labels
    pixels = images.float()  # a copy, in which operations work in place where they can
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
    """The batch with neighbours swapped: positions 1, 0, 3, 2 …"""
    return batch.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def _inside(boxes: Tensor, pixels: Tensor) -> Tensor:
    """Which pixels lie in the image's box (x, y, width, height; [N, 4]): bool [N, H, W, 1]."""
    x, y, w, h = boxes[:, :, None].unbind(1)  # [N, 1] each
    rows, columns_ = (torch.arange(side, device=pixels.device) for side in pixels.shape[1:3])
    down = (rows >= y) & (rows < y + h)  # [N, H]
    across = (columns_ >= x) & (columns_ < x + w)  # [N, W]
    return (down[:, :, None] & across[:, None, :])[..., None]
