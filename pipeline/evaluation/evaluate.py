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
from pipeline.evaluation.decoded import DecodedImages
from pipeline.evaluation.recalibrate import recalibrate
from pipeline.evaluation.reused_memory import memory_reused
from pipeline.evaluation.subnet_tree import SubnetTree
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


# Subnets that are measured together by `Evaluator.each`, which share the more the more they are, and are lost together
# where one is killed.
AT_ONCE = 16


class Evaluator:
    """Evaluates on held-out images, recalibrating on a fixed sample of those that training is shown.

    All processes must call its methods together; each works on its part, and all get the same result.

    Args:
        room: bytes that decoded images may be kept in (`room_for_images`), those for recalibration first; where they
            do not fit, they are read again. None: those for recalibration are kept, and held-out ones read each time.
    """

    def __init__(
        self,
        train: Split,
        held_out: Split,
        data: DataConfig,
        config: EvaluationConfig,
        processes: Processes,
        room: int | None = None,
    ) -> None:
        self.processes = processes
        self._train, self._held_out = train, held_out
        self._data, self._config = data, config
        self._keeps_held_out = room is not None
        self._decoded = DecodedImages(room, tells=processes.is_main)
        self._damage = DamageRecord(train.folder, len(train), data.max_corrupt)

    def full_model(self, supernet: Supernet) -> Accuracy:
        """Accuracy of the full model with its own running statistics, where these are of its resolution.

        Trained on images of several sizes, they are a mixture: then it is recalibrated as any subnet is.

        Raises:
            ShardDamage: on the process that met damaged data; PeerFailure on the others.
        """
        full = supernet.space.largest()
        if len(supernet.space.image_sides) > 1:
            return self.subnet(supernet, full)
        side = supernet.space.image_side(full)
        was_training = supernet.training
        supernet.eval()
        try:
            with _in_float32(supernet), memory_reused():
                [found] = self._measured(lambda images: [(0, supernet(images, full))], 1, side)
        finally:
            supernet.train(was_training)
        return found

    def subnet(self, supernet: Supernet, subnet: Subnet) -> Accuracy:
        """Accuracy of `subnet` at its resolution, with recalibrated statistics; that of its extracted network.

        Raises:
            ShardDamage: on the process that met damaged data; PeerFailure on the others.
        """
        return self.subnets(supernet, [subnet])[0]

    def each(self, supernet: Supernet, subnets: Sequence[Subnet]) -> Iterator[Accuracy]:
        """Accuracies of any number of subnets, in their order, `AT_ONCE` at a time; see `subnet`."""
        for first in range(0, len(subnets), AT_ONCE):
            yield from self.subnets(supernet, subnets[first : first + AT_ONCE])

    def subnets(self, supernet: Supernet, subnets: Sequence[Subnet]) -> list[Accuracy]:
        """Accuracies of `subnets`, measured together: none depends on the others that it is measured with.

        Raises:
            ShardDamage: on the process that met damaged data; PeerFailure on the others.
        """
        found: dict[Subnet, Accuracy] = {}
        for side in dict.fromkeys(map(supernet.space.image_side, subnets)):
            alike = [each for each in dict.fromkeys(subnets) if supernet.space.image_side(each) == side]
            with _in_float32(supernet), memory_reused():
                tree = SubnetTree(supernet, alike)
                self.processes.together(lambda tree=tree, side=side: self._recalibrate(tree, side))
                found |= zip(alike, self._measured(tree.logits, len(alike), side), strict=True)
        return [found[subnet] for subnet in subnets]

    def network(self, supernet: Supernet, subnet: Subnet) -> nn.Module:
        """`subnet` as a plain network with statistics recalibrated at its resolution, in evaluation mode.

        Raises:
            ShardDamage: on the process that met damaged data; PeerFailure on the others.
        """
        network, side = extract(supernet, subnet), supernet.space.image_side(subnet)
        with _in_float32(supernet):
            images = (normalise(self._here(batch.images)) for batch in self._recalibration(side))
            self.processes.together(lambda: recalibrate(network, images))
        return network

    @torch.inference_mode()
    def _recalibrate(self, tree: SubnetTree, side: int) -> None:
        tree.recalibrate(normalise(self._here(batch.images)) for batch in self._recalibration(side))

    def _measured(self, networks: Networks, number: int, side: int) -> list[Accuracy]:
        """Of `number` networks, on all held-out images."""

        def measure() -> list[list[float]]:
            return count_each(networks, number, self._held_out_batches(side), self.processes.device)

        counts = np.array(self.processes.total(list(np.ravel(self.processes.together(measure)))))
        return [Accuracy.of(row) for row in counts.reshape(number, -1).tolist()]

    def _here(self, images: Tensor) -> Tensor:
        return images.to(self.processes.device, non_blocking=True)

    def _held_out_batches(self, side: int) -> Iterable[Batch]:
        rank, world, split = self.processes.rank, self.processes.world, self._held_out
        loader = EvaluationLoader(split, self._data, side, self._config.batch_size, rank, world)
        if not self._keeps_held_out:
            return loader
        return self._decoded.batches("held-out", -(-len(split) // world), side, lambda: loader)

    def _recalibration(self, side: int) -> Iterable[Batch]:
        # The same images in every process, so that all recalibrate to the same statistics.
        ids = recalibration_ids(len(self._train), self._config.recalibration_samples, self._config.batch_size)
        return self._decoded.batches("recalibration", len(ids), side, lambda: self._read_recalibration(side, ids))

    def _read_recalibration(self, side: int, ids: np.ndarray) -> Iterator[Batch]:
        # They are training images, from which no figure is computed: skipped where training skips them.
        loader = EvaluationLoader(
            self._train, self._data, side, self._config.batch_size, rank=0, world=1, ids=ids, substitute=True
        )
        yield from loader
        tell_skipped("recalibration", self._damage, loader.skipped, self.processes.is_main)


def tell_skipped(use: str, record: DamageRecord, damages: Sequence[ShardDamage], tells: bool) -> None:
    """Have a warning tell what other samples were shown for, in `use`.

    Args:
        record: of all that was damaged so far, which `damages` are added to.
        tells: whether this process does.

    Raises:
        ShardDamage: where more is damaged than is allowed.
    """
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


# The number of a network, and its logits [N, classes] of normalised images [N, 3, H, W]; for each of several.
Networks = Callable[[Tensor], Iterable[tuple[int, Tensor]]]


def count(network: Callable[[Tensor], Tensor], batches: Iterable[Batch], device: torch.device) -> list[float]:
    """Top-1 hits, top-5 hits, summed cross-entropy and number of samples of `network` (images to logits)."""
    return count_each(lambda images: [(0, network(images))], 1, batches, device)[0]


@torch.inference_mode()
def count_each(networks: Networks, number: int, batches: Iterable[Batch], device: torch.device) -> list[list[float]]:
    """`count` of each of `number` networks."""
    counts = torch.zeros(number, 3, dtype=torch.float64, device=device)
    samples = 0
    for batch in batches:
        if len(batch.labels):
            images, labels = (part.to(device, non_blocking=True) for part in (batch.images, batch.labels))
            for each, logits in networks(normalise(images)):
                counts[each] += hits(logits.float(), labels)
            samples += len(batch.labels)
    return [[*row, samples] for row in counts.tolist()]


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Top-1 hits, top-5 hits and summed cross-entropy of logits [N, classes]: float64 [3]."""
    best = logits.topk(min(5, logits.shape[1])).indices  # [N, 5]
    found = best == labels[:, None]
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([found[:, 0].sum(), found.sum(), loss]).double()
