"""Held-out accuracy of the full model and of subnets, every sample counted exactly once over all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data_shards.index import Split
from data_shards.loader import Batch, DataConfig, EvaluationLoader
from pipeline.engines.processes import Processes
from pipeline.evaluation.config import EvaluationConfig
from pipeline.evaluation.recalibrate import recalibrate
from pipeline.supernet.extract import extract
from pipeline.supernet.mobilenet_v3 import Supernet
from pipeline.supernet.space import Subnet
from pipeline.training.normalise import normalise


@dataclass(frozen=True)
class Accuracy:
    """Over `samples` images: top-1 and top-5 in per cent, and the mean cross-entropy."""

    top1: float
    top5: float
    loss: float
    samples: int


class Evaluator:
    """Evaluates on one held-out split, recalibrating on a fixed sample of the training split.

    All processes must call its methods together; each works on its share, and all get the same result.
    """

    def __init__(
        self,
        train: Split,
        test: Split,
        data: DataConfig,
        config: EvaluationConfig,
        resolution: int,
        processes: Processes,
    ) -> None:
        self.processes = processes
        self.test = EvaluationLoader(test, data, resolution, config.batch_size, processes.rank, processes.world)
        # The same images in every process, so that all recalibrate to the same statistics.
        sample = recalibration_ids(len(train), config.recalibration_samples, config.batch_size)
        self._recalibration = EvaluationLoader(train, data, resolution, config.batch_size, 0, 1, ids=sample)
        self._recalibration_images: list[Tensor] | None = None

    def full_model(self, supernet: Supernet) -> Accuracy:
        """Accuracy of the full model with its own running statistics."""
        was_training = supernet.training
        supernet.eval()
        full = supernet.space.largest()
        accuracy = measure(lambda images: supernet(images, full), self.test, self.processes)
        supernet.train(was_training)
        return accuracy

    def subnet(self, supernet: Supernet, subnet: Subnet) -> Accuracy:
        """Accuracy of `subnet` as a plain network with recalibrated statistics."""
        network = extract(supernet, subnet)
        recalibrate(network, self._recalibration_batches())
        return measure(network, self.test, self.processes)

    def _recalibration_batches(self) -> Iterator[Tensor]:
        if self._recalibration_images is None:
            self._recalibration_images = [batch.images for batch in self._recalibration]
        return (normalise(images, self.processes.device) for images in self._recalibration_images)


def recalibration_ids(samples: int, wanted: int, batch: int) -> np.ndarray:
    """A fixed random choice of `wanted` ids (at most all), in whole batches where that many exist; sorted."""
    count = min(wanted, samples)
    count = count // batch * batch or count
    generator = np.random.default_rng(0)
    return np.sort(generator.choice(samples, count, replace=False))


@torch.no_grad()
def measure(network: Callable[[Tensor], Tensor], batches: Iterable[Batch], processes: Processes) -> Accuracy:
    """Accuracy of `network` (normalised images to logits) over all processes' `batches`."""
    counts = torch.zeros(4, dtype=torch.float64, device=processes.device)
    for batch in batches:
        if len(batch.labels):
            labels = batch.labels.to(processes.device, non_blocking=True)
            counts += _counts(network(normalise(batch.images, processes.device)).float(), labels)
    top1, top5, loss, samples = processes.total(counts.tolist())
    return Accuracy(100 * top1 / samples, 100 * top5 / samples, loss / samples, int(samples))


def _counts(logits: Tensor, labels: Tensor) -> Tensor:
    best = logits.topk(min(5, logits.shape[1])).indices  # [N, 5]
    hits = best == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([hits[:, 0].sum(), hits.sum(), loss, torch.tensor(len(labels), device=labels.device)]).double()
