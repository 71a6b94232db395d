"""What a reader gives, and how it goes from a reader process to the training process."""

from __future__ import annotations

import pickle
from typing import NamedTuple

import torch

from data_shards.errors import ShardDamage


class Batch(NamedTuple):
    """`images`: uint8 [B, resolution, resolution, 3], RGB. `labels` and `ids`: int64 [B].

    `draws`: float32 [B, COLUMNS], what the device has yet to do to them (`augmentation.on_device`); [B, 0] where
    there is nothing to do, as for evaluation. All on the CPU, but for the images where DALI left them on the GPU.
    """

    images: torch.Tensor
    labels: torch.Tensor
    ids: torch.Tensor
    draws: torch.Tensor


class Answer(NamedTuple):
    """A batch, and the damage to samples that it shows others in place of."""

    batch: Batch
    skipped: list[ShardDamage]

    def __reduce__(self):
        # All of it in one piece of shared memory, whose handle is the message. A message as short as that is in the
        # pipe whole or not at all: of a longer one a reader that is killed may leave a part, and who receives it would
        # wait for the rest for ever.
        images, *small = self.batch
        rest = pickle.dumps(([part.numpy() for part in small], self.skipped))
        piece = torch.empty(images.numel() + len(rest), dtype=torch.uint8).share_memory_()
        piece[: images.numel()] = images.flatten()
        piece[images.numel() :] = torch.frombuffer(bytearray(rest), dtype=torch.uint8)
        return _received, (piece, images.shape)


def _received(piece: torch.Tensor, shape: torch.Size) -> Answer:
    images, rest = piece[: shape.numel()].view(shape), piece[shape.numel() :]
    small, skipped = pickle.loads(rest.numpy().tobytes())
    return Answer(Batch(images, *map(torch.from_numpy, small)), skipped)
