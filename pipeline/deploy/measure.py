"""What the files of an export compute, beside the network that they were made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from data_shards.augmentation.normalise import normalise
from data_shards.loading.loader import Batch
from pipeline.errors import RunFailure
from pipeline.evaluation.evaluate import Accuracy, hits

ORIGINAL = "torch"

Network = Callable[[Tensor], Tensor]  # normalised images float32 [N, 3, H, W] to logits [N, classes]

# Of logits, as a part of the greatest: float32 sums in another order differ by some 1e-6 of it.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Measured:
    """Of a network on labelled images.

    Attributes:
        others: images whose most likely class is another one than the original's.
        difference: greatest one of a logit from the original's, as a part of the original's greatest logit.
    """

    accuracy: Accuracy
    others: int
    difference: float


@torch.no_grad()
def measure(original: Network, networks: Mapping[str, Network], batches: Iterable[Batch]) -> dict[str, Measured]:
    """Measure `original`, under the name `ORIGINAL`, and all `networks`, in one pass over the images."""
    names = (ORIGINAL, *networks)
    counts = {name: torch.zeros(4, dtype=torch.float64) for name in names}
    others = dict.fromkeys(names, 0)
    differences = {name: _Difference() for name in names}
    for batch in batches:
        images, labels = normalise(batch.images.cpu()), batch.labels.cpu()
        expected = original(images)
        for name in names:
            logits = networks[name](images) if name in networks else expected
            counts[name] += torch.cat([hits(logits, labels), torch.tensor([len(labels)])])
            others[name] += int((logits.argmax(1) != expected.argmax(1)).sum())
            differences[name].add(expected, logits)
    return {
        name: Measured(Accuracy.of(counts[name].tolist()), others[name], differences[name].relative) for name in names
    }


@torch.no_grad()
def check_equal(original: Network, network: Network, images: Iterable[Tensor], what: str) -> None:
    """Make sure that two networks give the same logits, to `TOLERANCE`.

    Raises:
        RunFailure: where they do not.
    """
    difference = _Difference()
    for batch in images:
        difference.add(original(batch), network(batch))
    if not difference.relative <= TOLERANCE:  # what is not a number is no rounding either
        raise RunFailure(
            f"{what}: its logits differ from the network's by {difference.relative:.2g} of the greatest one, where "
            f"{TOLERANCE:g} is allowed for rounding; nothing is written"
        )


class _Difference:
    """The greatest difference of logits over batches; not a number where one of them is none."""

    def __init__(self) -> None:
        self._greatest = self._difference = torch.zeros(())

    def add(self, expected: Tensor, logits: Tensor) -> None:
        self._greatest = torch.maximum(self._greatest, expected.abs().max())
        self._difference = torch.maximum(self._difference, (logits - expected).abs().max())

    @property
    def relative(self) -> float:
        """As a part of the greatest expected one."""
        return float(self._difference / self._greatest)
