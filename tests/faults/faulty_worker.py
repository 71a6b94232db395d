"""Trains as `pipeline.train`, but one batch of one process is at fault: nan|unreadable STEP RANK, then the usual."""

import errno
import os
import sys
from collections.abc import Iterator

from torch import Tensor

from data_shards.loader import Batch, TrainLoader
from pipeline import train
from pipeline.training import trainer


def damage_images(step: int) -> None:
    """The images of the batch of `step` turn into NaN on their way to the model."""
    normalise, batches = trainer.normalise, 0

    def damaging(images: Tensor, *rest) -> Tensor:
        nonlocal batches
        batches += 1
        normalised = normalise(images, *rest)
        return normalised * float("nan") if batches == step + 1 else normalised

    trainer.normalise = damaging


def fail_reading(step: int) -> None:
    """The device of the shards fails where the batch of `step` is read."""
    read = TrainLoader.__iter__

    def failing(self: TrainLoader) -> Iterator[Batch]:
        for number, batch in enumerate(read(self)):
            if number == step:
                raise OSError(errno.EIO, os.strerror(errno.EIO), "/shards/train-000000.tar")
            yield batch

    TrainLoader.__iter__ = failing


if __name__ == "__main__":
    fault, step, rank = (sys.argv.pop(1) for _ in range(3))
    if os.environ["RANK"] == rank:
        {"nan": damage_images, "unreadable": fail_reading}[fault](int(step))
    train.main()
