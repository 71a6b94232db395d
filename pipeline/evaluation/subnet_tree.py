"""Several subnets of a supernet, recalibrated and computed together: what they begin with alike is computed once.

That is exact: what a part puts out, and the statistics of its batch norms, follow from the images and from the parts
up to it alone. The supernet's weights are read in place, by the operations that train it: its batch norms are applied
while the next convolution reads, so nothing would be gained by folding them into weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from torch import Tensor

from pipeline.evaluation.own_statistics import OwnStatistics
from pipeline.supernet.layer import BlockShape, Layer
from pipeline.supernet.shapes import parts
from pipeline.supernet.subnet import Subnet
from pipeline.supernet.supernet import Supernet


class SubnetTree:
    """The parts of `subnets`, each below the one before it. To be used where gradients are off.

    Args:
        subnets: on images of one side.
    """

    def __init__(self, supernet: Supernet, subnets: Sequence[Subnet]) -> None:
        self._supernet = supernet
        operations = supernet.operations(next(supernet.parameters()).device.type)
        self._root = _Branch(OwnStatistics(operations))
        for number, subnet in enumerate(subnets):
            stem, stages, head = parts(supernet.space, subnet)
            path = (*stem, *stages, *head)
            last = max(place for place, part in enumerate(path) if isinstance(part, BlockShape) or part.norm)
            branch = self._root
            for place, part in enumerate(path):
                if part not in branch.following:
                    branch.following[part] = _Branch(OwnStatistics(operations))
                branch = branch.following[part]
                branch.recalibrates |= place <= last
            branch.ends.append(number)

    def recalibrate(self, batches: Iterable[Tensor]) -> None:
        """Average the statistics of all batch norms over `batches`, as `recalibrate.recalibrate` does; once.

        Args:
            batches: normalised images [N, 3, H, W], of equal size so that every image weighs the same.
        """
        for number, images in enumerate(batches, start=1):
            for _ in self._walk(self._root, images, 1 / number):
                pass

    def logits(self, images: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Number of a subnet, and its logits [N, classes] of normalised images [N, 3, H, W]; for each of them."""
        return self._walk(self._root, images, None)

    def _walk(self, branch: _Branch, x: Tensor, share: float | None) -> Iterator[tuple[int, Tensor]]:
        """Depth first, so that no more is kept than the outputs on the way to one part."""
        for part, following in branch.following.items():
            if share is not None and not following.recalibrates:
                continue
            following.operations.share = share
            y = self._supernet.through(following.operations, [part], x, full=False)
            for number in following.ends:
                yield number, y
            yield from self._walk(following, y, share)


class _Branch:
    """What follows a part.

    Attributes:
        operations: of the part.
        recalibrates: whether it or what follows it has batch norms.
        ends: numbers of the subnets whose last part it is.
    """

    def __init__(self, operations: OwnStatistics) -> None:
        self.operations = operations
        self.following: dict[Layer | BlockShape, _Branch] = {}
        self.recalibrates = False
        self.ends: list[int] = []
