"""What a step gets: a batch that all processes have read, moved to the device once, varied and normalised there."""

from __future__ import annotations

import signal
import time
from typing import NamedTuple

import torch
from torch import Tensor

from data_shards.augmentation.crops import Augmentation
from data_shards.augmentation.normalise import normalise
from data_shards.augmentation.on_device import augment_on_device
from data_shards.loading.batch_reader import Batch
from data_shards.loading.loader import TrainLoader
from pipeline.processes.group import Processes
from pipeline.training.skipped import SkippedSamples
from pipeline.training.stop_request import StopRequest


class Read(NamedTuple):
    """The batch of a step, as all processes have theirs, and what they told each other of going on.

    Attributes:
        began: when reading began, of time.perf_counter.
        met: when all processes had read.
        waited: seconds of these in which this process waited for its own reader.
        stop: a signal that has asked one of them to stop.
        unwritten: whether one of them could not write a checkpoint.
    """

    batch: Batch
    began: float
    met: float
    waited: float
    stop: signal.Signals | None
    unwritten: bool


class Feed:
    """The batches of a run's steps, and whether to go on: all that its processes agree on in a step.

    Args:
        loader: batches from the run's step on.
        augmentation, classes: see `to_device`.
    """

    def __init__(
        self,
        loader: TrainLoader,
        skipped: SkippedSamples,
        stop_request: StopRequest,
        augmentation: Augmentation,
        classes: int,
        processes: Processes,
    ) -> None:
        self.loader = loader
        self.skipped = skipped
        self.stop_request = stop_request
        self.augmentation, self.classes = augmentation, classes
        self.processes = processes
        self._batches = iter(loader)

    def read(self, unwritten: bool) -> Read:
        """The next batch. All processes must call it together.

        Args:
            unwritten: whether this process could not write a checkpoint.

        Raises:
            ShardDamage, ReaderLost, OSError: on the process that met it; or on the main one, for more damage than may
                be skipped. PeerFailure on the others.
        """
        began, waited = time.perf_counter(), self.loader.wait_seconds
        batch, (damages, unwritten_anywhere, stop) = self.processes.together_telling(
            lambda: next(self._batches),
            lambda: (len(self.loader.skipped), unwritten, self.stop_request.signal or 0),
        )
        if damages:
            self.skipped.settle(self.loader.skipped)
            self.loader.skipped.clear()
        waited = self.loader.wait_seconds - waited
        stop = signal.Signals(stop) if stop else None
        return Read(batch, began, time.perf_counter(), waited, stop, bool(unwritten_anywhere))

    def on_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Images and labels as a step takes them, see `to_device`."""
        return to_device(batch, self.processes.device, self.augmentation, self.classes)


def to_device(batch: Batch, device: torch.device, augmentation: Augmentation, classes: int) -> tuple[Tensor, Tensor]:
    """Normalised images and labels, on `device`.

    From pinned memory, as readers leave it where there is a GPU, the host does not wait for any of it.

    Returns:
        float32 [N, 3, H, W] in channels_last; int64 [N], or float [N, classes] where images are mixed.
    """
    images, labels, draws = (part.to(device, non_blocking=True) for part in (batch.images, batch.labels, batch.draws))
    images, labels = augment_on_device(images, labels, draws, augmentation, classes)
    return normalise(images), labels
