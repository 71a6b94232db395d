"""Trains as `pipeline.train`, but one process meets a fault: nan|unreadable BATCH[,BATCH…] RANK, then the usual."""

import errno
import os
import sys
from collections.abc import Iterator

from torch import Tensor

from data_shards.loader import Batch, TrainLoader
from pipeline import train
from pipeline.training import trainer


def damage_images(at: set[int]) -> None:
    """The images of the batches `at`, counted from this start, turn into NaN on their way to the model."""
    normalise, batches = trainer.normalise, 0

    def damaging(images: Tensor, *rest) -> Tensor:
        nonlocal batches
        batches += 1
        normalised = normalise(images, *rest)
        return normalised * float("nan") if batches - 1 in at else normalised

    trainer.normalise = damaging


def fail_reading(at: set[int]) -> None:
    """The device of the shards fails where the batches `at` are read."""
    read = TrainLoader.__iter__

    def failing(self: TrainLoader) -> Iterator[Batch]:
        for number, batch in enumerate(read(self)):
            if number in at:
                raise OSError(errno.EIO, os.strerror(errno.EIO), "/shards/train-000000.tar")
            yield batch

    TrainLoader.__iter__ = failing


if __name__ == "__main__":
    fault, at, rank = (sys.argv.pop(1) for _ in range(3))
    if os.environ["RANK"] == rank:
        {"nan": damage_images, "unreadable": fail_reading}[fault]({int(batch) for batch in at.split(",")})
    train.main()
