"""The batch that a reader has read, and how it gets from a reader process to the training process."""

from __future__ import annotations

import pickle
from typing import NamedTuple

import torch

from data_shards.errors import ShardDamage


class Batch(NamedTuple):
    """Images with their labels, as a reader hands them over: on the CPU, but for images that DALI decoded on a GPU.

    Attributes:
        images: uint8 RGB [B, resolution, resolution, 3].
        labels, ids: int64 [B].
        draws: what the device has yet to do to the images, float32 [B, COLUMNS] (see `augmentation.draws`); [B, 0]
            where that is nothing, as in evaluation.
    """

    images: torch.Tensor
    labels: torch.Tensor
    ids: torch.Tensor
    draws: torch.Tensor


class Answer(NamedTuple):
    """A batch, and the damage to those samples in whose place it shows others."""

    batch: Batch
    skipped: list[ShardDamage]

    def __reduce__(self):
        # Everything goes into one piece of shared memory, and the message is its handle. So short a message is in the
        # pipe as a whole or not at all. A reader that is killed may leave part of a longer one there, and the receiver
        # would wait for ever for the rest.
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
