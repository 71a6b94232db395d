"""Held-out accuracy of the full model and of subnets, every sample counted exactly once over all processes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data_shards.augmentation.normalise import normalise
from data_shards.errors import ShardDamage
from data_shards.loading.loader import Batch, DataConfig, EvaluationLoader
from data_shards.store.damage_record import DamageRecord
from data_shards.store.index import Split
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.recalibrate import recalibrate
from pipeline.processes.group import Processes
from pipeline.supernet.extract import extract
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet


@dataclass(frozen=True)
class Accuracy:
    """Of a network on held-out images.

    Attributes:
        top1, top5: in per cent.
        loss: mean cross-entropy.
        samples: number of images.
    """

    top1: float
    top5: float
    loss: float
    samples: int

    @staticmethod
    def of(counts: Sequence[float]) -> Accuracy:
        """From top-1 hits, top-5 hits, summed cross-entropy and number of samples."""
        top1, top5, loss, samples = counts
        return Accuracy(100 * top1 / samples, 100 * top5 / samples, loss / samples, int(samples))


class Evaluator:
    """Evaluates on held-out images, recalibrating on a fixed sample of those that training is shown.

    All processes must call its methods together; each works on its part, and all get the same result.
    """

    def __init__(
        self, train: Split, held_out: Split, data: DataConfig, config: EvaluationConfig, processes: Processes
    ) -> None:
        self.processes = processes
        self._train, self._held_out = train, held_out
        self._data, self._config = data, config
        self._recalibration_images: dict[int, list[Tensor]] = {}  # by resolution

    def full_model(self, supernet: Supernet) -> Accuracy:
        """Accuracy of the full model with its own running statistics, where these are of its resolution.

        Trained on images of several sizes, they are a mixture: then it is recalibrated as any subnet is.

        Raises:
            ShardDamage: on the process that met damaged data; PeerFailure on the others.
        """
        full = supernet.space.largest()
        if len(supernet.space.image_sides) > 1:
            return self.subnet(supernet, full)
        was_training = supernet.training
        supernet.eval()
        try:
            with _in_float32(supernet):
                return self._measure(lambda images: supernet(images, full), supernet.space.image_side(full))
        finally:
            supernet.train(was_training)

    def subnet(self, supernet: Supernet, subnet: Subnet) -> Accuracy:
        """Accuracy of `subnet` at its resolution, as a plain network with recalibrated statistics.

        Raises:
            ShardDamage: on the process that met damaged data; PeerFailure on the others.
        """
        network = self.network(supernet, subnet)
        with _in_float32(supernet):
            return self._measure(network, supernet.space.image_side(subnet))

    def network(self, supernet: Supernet, subnet: Subnet) -> nn.Module:
        """`subnet` as a plain network with statistics recalibrated at its resolution, in evaluation mode.

        Raises:
            ShardDamage: on the process that met damaged data; PeerFailure on the others.
        """
        network, side = extract(supernet, subnet), supernet.space.image_side(subnet)
        images = self.processes.together(lambda: self._recalibration(side))
        with _in_float32(supernet):
            recalibrate(network, (self._on_device(batch) for batch in images))
        return network

    def _measure(self, network: Callable[[Tensor], Tensor], side: int) -> Accuracy:
        rank, world = self.processes.rank, self.processes.world
        batches = EvaluationLoader(self._held_out, self._data, side, self._config.batch_size, rank, world)
        counts = self.processes.together(lambda: count(network, batches, self.processes.device))
        return Accuracy.of(self.processes.total(counts))

    def _on_device(self, images: Tensor) -> Tensor:
        return normalise(images.to(self.processes.device, non_blocking=True))

    def _recalibration(self, resolution: int) -> list[Tensor]:
        if resolution not in self._recalibration_images:
            size = self._config.batch_size
            # The same images in every process, so that all recalibrate to the same statistics.
            ids = recalibration_ids(len(self._train), self._config.recalibration_samples, size)
            # They are training images, from which no figure is computed: skipped where training skips them.
            loader = EvaluationLoader(
                self._train, self._data, resolution, size, rank=0, world=1, ids=ids, substitute=True
            )
            # Out of the shared memory that a reader hands them over in, which is little, as they are kept.
            images = (batch.images for batch in loader)
            self._recalibration_images[resolution] = [each.clone() if each.is_shared() else each for each in images]
            tell_skipped("recalibration", self._train, self._data, loader.skipped, self.processes.is_main)
        return self._recalibration_images[resolution]


def tell_skipped(use: str, split: Split, data: DataConfig, damages: Sequence[ShardDamage], tells: bool = True) -> None:
    """Have a warning tell what other samples were shown for, in `use`.

    Raises:
        ShardDamage: where more of `split` is damaged than `data` allows.
    """
    record = DamageRecord(split.folder, len(split), data.max_corrupt)
    firsts = record.add(damages)
    if firsts and tells:
        logging.getLogger(__name__).warning("%s: other samples shown: %s; first %s", use, record, firsts[0])
    record.check()


@contextmanager
def _in_float32(supernet: Supernet) -> Iterator[None]:
    """Have everything measured in float32, whatever it is trained in.

    That is what networks are extracted and deployed in, and figures of one table, and of several machines, compare.
    """
    bf16, supernet.bf16 = supernet.bf16, False
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        supernet.bf16 = bf16


def recalibration_ids(samples: int, wanted: int, batch: int) -> np.ndarray:
    """A fixed random choice of `wanted` ids (at most all), in whole batches where that many exist; sorted."""
    count = min(wanted, samples)
    count = count // batch * batch or count
    generator = np.random.default_rng(0)
    return np.sort(generator.choice(samples, count, replace=False))


@torch.no_grad()
def count(network: Callable[[Tensor], Tensor], batches: Iterable[Batch], device: torch.device) -> list[float]:
    """Top-1 hits, top-5 hits, summed cross-entropy and number of samples of `network` (images to logits)."""
    counts = torch.zeros(3, dtype=torch.float64, device=device)
    samples = 0
    for batch in batches:
        if len(batch.labels):
            images, labels = (part.to(device, non_blocking=True) for part in (batch.images, batch.labels))
            counts += hits(network(normalise(images)).float(), labels)
            samples += len(batch.labels)
    return [*counts.tolist(), samples]


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Top-1 hits, top-5 hits and summed cross-entropy of logits [N, classes]: float64 [3]."""
    best = logits.topk(min(5, logits.shape[1])).indices  # [N, 5]
    found = best == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([found[:, 0].sum(), found.sum(), loss]).double()
