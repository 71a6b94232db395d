"""The gate of INT8 files: layers that hurt most go back to float until the loss of accuracy is within a limit.

How much a layer hurts is measured with it alone in INT8, by the Kullback-Leibler divergence of the class probabilities
from the float file's. From that end damages are small and about add up, whereas with all others in INT8 two bad layers
would hide each other; and it tells layers apart on few images, on which their accuracies are the same. Layers go
back in that order. How many is found by bisection over the accuracy itself, so that the cost is bounded: a file per
layer on some hundred images, and one per doubling of their number on all of them.

All of it happens on images to choose by, none of them from the test split. A drop there has a standard error, and is
taken as one of these larger: else every second file that just passes would fail on the test split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.deploy.images import Images
from pipeline.deploy.quantise import Quantiser
from pipeline.deploy.runtime import Runtime

_IMAGES_PER_LAYER = 256


class Drop(NamedTuple):
    """Loss of top-1 accuracy against float, points, and its standard error over the images."""

    points: float
    error: float

    def within(self, limit: float) -> bool:
        """Whether it is no more than `limit`, taken as one standard error larger."""
        return self.points + self.error <= limit

    def __str__(self) -> str:
        return f"{self.points:.2f} ± {self.error:.2f}"


class Gated(NamedTuple):
    """What came of it.

    Attributes:
        layers: of the network, in order of execution.
        naive: the file with all of them in INT8.
        model: the file that holds the limit; where none does, the last one tried, with one layer in INT8.
        float_layers: of `model`: those that went back to float, the worst first.
        drop: of `model` on the images to choose by.
        naive_drop: of `naive`.
        holds: whether `model` holds the limit.
        damages: of each layer alone in INT8, nats; empty where `naive` holds the limit.
    """

    layers: tuple[str, ...]
    naive: bytes
    model: bytes
    float_layers: tuple[str, ...]
    drop: Drop
    naive_drop: Drop
    holds: bool
    damages: Mapping[str, float]


def gate(
    quantiser: Quantiser,
    in_float: Callable[[Tensor], Tensor],
    images: Images,
    limit: float,
    threads: int,
    tell: Callable[[str], None] = lambda _: None,
) -> Gated:
    """Find an INT8 file that holds the limit; with one less of the layers that hurt most in float, it would not.

    Args:
        in_float: the float file in its runtime.
        images: to choose by.
        limit: most points of top-1 accuracy that may be lost.
        threads: of the runtime.
        tell: is told what is tried.
    """
    layers, labels, few = quantiser.layers, images.labels, images.first(_IMAGES_PER_LAYER)
    expected = _logits(in_float, images)

    def tried(model: bytes) -> Drop:
        return drop_of(expected, _logits(Runtime(model, threads), images), labels)

    tell("all layers in INT8")
    naive = quantiser.quantised()
    naive_drop = tried(naive)
    if naive_drop.within(limit):
        return Gated(layers, naive, naive, (), naive_drop, naive_drop, True, {})
    damages: dict[str, float] = {}
    for number, layer in enumerate(layers, start=1):
        tell(f"layer {number} of {len(layers)} in INT8")
        alone = quantiser.quantised([each for each in layers if each != layer])
        damages[layer] = _divergence(expected[: len(few)], _logits(Runtime(alone, threads), few))
    worst_first = tuple(sorted(layers, key=lambda layer: -damages[layer]))

    def with_in_float(count: int) -> tuple[bytes, Drop]:
        tell(f"{count} of {len(layers)} layers in float")
        model = quantiser.quantised(worst_first[:count])
        return model, tried(model)

    too_few, enough = 0, len(layers) - 1  # a file without any layer in INT8 is none
    model, drop = with_in_float(enough)
    while drop.within(limit) and enough - too_few > 1:
        middle = (too_few + enough) // 2
        candidate, its_drop = with_in_float(middle)
        if its_drop.within(limit):
            enough, model, drop = middle, candidate, its_drop
        else:
            too_few = middle
    float_layers = worst_first[:enough]
    return Gated(layers, naive, model, float_layers, drop, naive_drop, drop.within(limit), damages)


def drop_of(expected: Tensor, logits: Tensor, labels: Tensor) -> Drop:
    """How much accuracy `logits` lose against the `expected` ones, image by image: both [N, classes]."""
    lost = (expected.argmax(1) == labels).double() - (logits.argmax(1) == labels).double()
    return Drop(100 * float(lost.mean()), 100 * float(lost.std(correction=0)) / len(lost) ** 0.5)


def _divergence(expected: Tensor, logits: Tensor) -> float:
    """KL(expected ‖ logits), mean over the images, nats; infinite where a logit is not finite."""
    if not logits.isfinite().all():
        return float("inf")
    wanted, found = (F.log_softmax(each.double(), 1) for each in (expected, logits))
    return float(F.kl_div(found, wanted, reduction="batchmean", log_target=True))


def _logits(run: Callable[[Tensor], Tensor], images: Images) -> Tensor:
    return torch.cat([run(batch) for batch in images.normalised()])
