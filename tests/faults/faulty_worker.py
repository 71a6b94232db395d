"""Trains as `pipeline.train`, but one process meets a fault, with the usual arguments after it:

nan|overflow|unreadable|told BATCH[,BATCH…] RANK, or elsewhere|leaving FOLDER RANK.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from torch import Tensor

from data_shards.loading.loader import Batch, TrainLoader
from pipeline import train as program
from pipeline.engines.single import SingleEngine
from pipeline.run import lock
from pipeline.run.layout import CHECKPOINTS
from pipeline.training import feed


def damage_images(batch_numbers: str) -> None:
    """The images of these batches, counted from this start, turn into NaN on their way to the model."""
    normalise, batches, at = feed.normalise, 0, _numbers(batch_numbers)

    def damaging(images: Tensor) -> Tensor:
        nonlocal batches
        batches += 1
        normalised = normalise(images)
        return normalised * float("nan") if batches - 1 in at else normalised

    feed.normalise = damaging


def overflow(batch_numbers: str) -> None:
    """The losses of these batches are finite, a gradient of theirs is not."""
    update, updates, at = SingleEngine.step, 0, _numbers(batch_numbers)

    def overflowing(self: SingleEngine, learning_rate: float) -> Tensor:
        nonlocal updates
        updates += 1
        gradient = next(self.supernet.parameters()).grad
        if updates - 1 in at and gradient is not None:
            gradient.flatten()[0] = float("inf")
        return update(self, learning_rate)

    SingleEngine.step = overflowing


def fail_reading(batch_numbers: str) -> None:
    """The device of the shards fails where these batches are read."""
    read, at = TrainLoader.__iter__, _numbers(batch_numbers)

    def failing(self: TrainLoader) -> Iterator[Batch]:
        for number, batch in enumerate(read(self)):
            if number in at:
                raise OSError(errno.EIO, os.strerror(errno.EIO), "/shards/train-000000.tar")
            yield batch

    TrainLoader.__iter__ = failing


def be_told_to_stop(batch_numbers: str) -> None:
    """SIGTERM comes where these batches are read."""
    read, at = TrainLoader.__iter__, _numbers(batch_numbers)

    def telling(self: TrainLoader) -> Iterator[Batch]:
        for number, batch in enumerate(read(self)):
            if number in at:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    TrainLoader.__iter__ = telling


def meet_one_that_leaves(saved: str) -> None:
    """An earlier start of the run saves what is in the folder `saved`, and leaves, as this one asks for its lock."""
    hold = lock.hold

    def held(folder: Path) -> IO[str]:
        for path in Path(saved).iterdir():
            path.rename(folder / CHECKPOINTS / path.name)
        return hold(folder)

    lock.hold = held


def _numbers(text: str) -> set[int]:
    return {int(number) for number in text.split(",")}


FAULTS: dict[str, Callable[[str], None]] = {
    "nan": damage_images,
    "overflow": overflow,
    "unreadable": fail_reading,
    "told": be_told_to_stop,
    "leaving": meet_one_that_leaves,
    "elsewhere": os.chdir,  # a relative run folder is another one, as on another machine's disk
}

if __name__ == "__main__":
    fault, at, rank = (sys.argv.pop(1) for _ in range(3))
    if os.environ["RANK"] == rank:
        FAULTS[fault](at)
    program.main()
