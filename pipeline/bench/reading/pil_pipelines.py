"""How others feed a training: the webdataset library, and image files in class folders, with PIL in torch's workers.

The transform is torchvision's usual one (random resized crop, flip, tensor, normalise), written with PIL as
torchvision does it, which this project does without.
"""

from __future__ import annotations

import io
import math
import random
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, RandomSampler

from pipeline.bench.reading.photographs import Photographs
from pipeline.bench.reading.shown import BATCH, MEAN, PREFETCH, RESOLUTION, STD, Shown

_SCALE, _RATIO, _ATTEMPTS = (0.08, 1.0), (3 / 4, 4 / 3), 10
_SAMPLES_TO_SHUFFLE, _SHARDS_TO_SHUFFLE = 1000, 100  # the library's own examples have these
_FOR_EVER = 1 << 20  # passes


def transform(image: Image.Image) -> torch.Tensor:
    """A random resized crop, mirrored or not: float32 [3, 160, 160], normalised."""
    left, top, width, height = _window(*image.size)
    box = (left, top, left + width, top + height)
    # PIL's filters widen with the factor of shrinking, which is what others call antialiasing.
    image = image.crop(box).resize((RESOLUTION, RESOLUTION), Image.Resampling.BILINEAR)
    if random.random() < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().to(torch.float32).div_(255)
    return pixels.sub_(torch.tensor(MEAN)[:, None, None]).div_(torch.tensor(STD)[:, None, None])


def _window(width: int, height: int) -> tuple[int, int, int, int]:
    for _ in range(_ATTEMPTS):
        area = random.uniform(*_SCALE) * width * height
        ratio = math.exp(random.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return random.randint(0, width - w), random.randint(0, height - h), w, h
    w, h = min(width, round(height * _RATIO[1])), min(height, round(width / _RATIO[0]))
    return (width - w) // 2, (height - h) // 2, w, h


def webdataset(data: Photographs, workers: int, endless: bool) -> Generator[Shown, None, None]:
    """The library's pipeline as its documentation shows it for training."""
    import webdataset as library

    wds = cast(Any, library)  # its own type hints lack its main names
    shards = sorted(str(shard) for shard in (data.shards / "train").glob("*.tar"))
    samples = (
        wds.WebDataset(shards, shardshuffle=_SHARDS_TO_SHUFFLE, nodesplitter=wds.split_by_node)
        .shuffle(_SAMPLES_TO_SHUFFLE)
        .decode("pil")
        .to_tuple("jpg", "cls")
        .map_tuple(transform, _unchanged)
        .batched(BATCH)
        .repeat(_FOR_EVER if endless else 1)
    )
    for images, labels in wds.WebLoader(samples, batch_size=None, num_workers=workers, prefetch_factor=PREFETCH):
        yield Shown(images, torch.as_tensor(labels), None)


def image_folder(data: Photographs, workers: int, endless: bool) -> Generator[Shown, None, None]:
    """Files in class folders, in random order."""
    files = _ImageFolder(data.folder / "train")
    order = RandomSampler(files, num_samples=_FOR_EVER * len(files)) if endless else RandomSampler(files)
    loader = DataLoader(files, BATCH, sampler=order, num_workers=workers, prefetch_factor=PREFETCH)
    for images, labels in loader:
        yield Shown(images, labels, None)


class _ImageFolder(Dataset):
    def __init__(self, root: Path) -> None:
        classes = sorted(folder for folder in root.iterdir() if folder.is_dir())
        self._files = [(path, label) for label, folder in enumerate(classes) for path in sorted(folder.iterdir())]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        path, label = self._files[position]
        with Image.open(io.BytesIO(path.read_bytes())) as image:
            return transform(image.convert("RGB")), label


def _unchanged(label: int) -> int:
    return label
