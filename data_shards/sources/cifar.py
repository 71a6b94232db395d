"""`cifar10` and `cifar100`: the published archives, python or binary; images are kept without loss, as PNG."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_shards.errors import ShardUsageError
from data_shards.randomness import DataSetDraws, Purpose
from data_shards.sources import Sample
from data_shards.sources.cifar_formats import CifarImages, read_cifar
from data_shards.store.image_format import encode_png

SIDE = 32


class Cifar:
    """CIFAR-10, or CIFAR-100 with its fine labels. The images, 180 MB, are held in memory.

    Python and binary archives of the same images give the same shards.

    Args:
        name: `cifar10` or `cifar100`.
        src: the archive, the folder that it unpacks to, or a folder that holds either.
        seed: of the order of the images.

    Raises:
        ShardUsageError: `src` is no such archive, the archive lacks a file, or a class has no image.
        ShardDamage: a file of the archive is damaged.
    """

    folders = ()

    def __init__(self, name: str, src: Path, seed: int = 0):
        self.name = name
        self.classes, self._images = read_cifar(name, src)
        for split, (_, labels) in self._images.items():
            empty = np.flatnonzero(np.bincount(labels, minlength=len(self.classes)) == 0)
            if len(empty):
                raise ShardUsageError(f"{src}: no {split} image of class {self.classes[empty[0]]!r}")
        self._orders = {
            split: DataSetDraws(np.arange(len(labels)), seed).order(Purpose.CIFAR_ORDER)
            for split, (_, labels) in self._images.items()
        }
        self.options: dict[str, int | str] = {"content": _digest(self._images), "seed": seed}

    @property
    def splits(self) -> dict[str, int]:
        return {split: len(labels) for split, (_, labels) in self._images.items()}

    def samples(self, split: str, positions: np.ndarray) -> Iterator[Sample]:
        pixels, labels = self._images[split]
        for place in self._orders[split][positions].tolist():
            image = pixels[place].reshape(3, SIDE, SIDE).transpose(1, 2, 0)  # stored by channel
            yield Sample(encode_png(np.ascontiguousarray(image)), int(labels[place]), SIDE, SIDE)

    def identity(self, split: str, positions: np.ndarray) -> bytes:
        return f"{self.options} ".encode() + np.asarray(positions, "<i8").tobytes()


def _digest(images: dict[str, CifarImages]) -> str:
    digest = hashlib.sha256()
    for split, (pixels, labels) in images.items():
        digest.update(f"{split} {len(labels)}".encode())
        digest.update(pixels.tobytes())
        digest.update(np.asarray(labels, "<i8").tobytes())
    return digest.hexdigest()[:16]
