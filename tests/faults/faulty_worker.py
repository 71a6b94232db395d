"""Trains as `pipeline.train`, but one process meets a fault, with the usual arguments after it:

nan|overflow|unreadable|told BATCH[,BATCH…] RANK, elsewhere|leaving FOLDER RANK, or killed PLACE@STEP RANK: at the
step's beginning, before what its phase does on being entered (`before`) or after it (`entered`), or when the step's
weights are new (`within`). RANK may be `all`.
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
from pipeline.engines.protocol import Engine
from pipeline.engines.single import SingleEngine
from pipeline.methods.phases import StepPlan
from pipeline.run import lock
from pipeline.run.layout import CHECKPOINTS
from pipeline.training import feed, trainer
from pipeline.training.sandwich import StepResult
from pipeline.training.trainer import Trainer


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


def be_killed(where: str) -> None:
    """SIGKILL at a place in a step, when the checkpoint of the steps before it is written."""
    place, _, number = where.partition("@")
    enter_phases, sandwich_step = Trainer._enter_phases, trainer.sandwich_step

    def die(step: int, here: str) -> None:
        if (here, step) == (place, int(number)):
            os.kill(os.getpid(), signal.SIGKILL)

    def entering(self: Trainer, step: int) -> None:
        if step == int(number):
            self.checkpoints.finish()
            self.feed.processes.barrier()
        die(step, "before")
        enter_phases(self, step)
        die(step, "entered")

    def stepping(engine: Engine, plan: StepPlan, images: Tensor, labels: Tensor) -> StepResult:
        result = sandwich_step(engine, plan, images, labels)
        die(plan.step, "within")
        return result

    Trainer._enter_phases = entering
    trainer.sandwich_step = stepping


def _numbers(text: str) -> set[int]:
    return {int(number) for number in text.split(",")}


FAULTS: dict[str, Callable[[str], None]] = {
    "nan": damage_images,
    "overflow": overflow,
    "unreadable": fail_reading,
    "told": be_told_to_stop,
    "killed": be_killed,
    "leaving": meet_one_that_leaves,
    "elsewhere": os.chdir,  # a relative run folder is another one, as on another machine's disk
}

if __name__ == "__main__":
    fault, at, rank = (sys.argv.pop(1) for _ in range(3))
    if rank in ("all", os.environ["RANK"]):
        FAULTS[fault](at)
    program.main()
