"""The NVIDIA DALI reader: decodes, crops, resizes and mirrors on the GPU where there is one, else on the CPU.

DALI is given encoded images, crop windows, flips and the resolution, batch by batch, and draws nothing itself. So
samples and crops are those of the Python reader, and a resume may begin at any step. Images are read by threads:
`external_source(parallel=True)` would fork a process that has CUDA and threads already.

How much its pixels differ from the Python reader's on the CPU, in grey levels, for pictures with as much detail as
photographs can have (tests/data_shards/decoding/test_dali.py): at most one level where nothing is shrunk; where a
window is shrunk, 3.5 on average, rarely more than 13, and up to 60 at the sharpest edges. OpenCV averages over boxes
and DALI over triangles; where the Python reader decodes at a fraction of the size, libjpeg does part of the shrinking.
On a GPU, which is not measured yet, nvJPEG's decoders add a few levels; which of them decodes an image may depend on
the batch.
"""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from data_shards import DISTRIBUTION
from data_shards.augmentation.crops import Crops
from data_shards.decoding import dali_graphs
from data_shards.decoding.encoded import EncodedBatch, encoded_batches
from data_shards.decoding.fraction import shown_edges
from data_shards.decoding.python import decode
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.store.image_format import format_name, is_png
from data_shards.store.index import Split


def installed() -> bool:
    """Whether DALI can be imported. It is not imported here, as that takes seconds."""
    try:
        return importlib.util.find_spec("nvidia.dali") is not None
    except ModuleNotFoundError:  # there is no package of NVIDIA's at all
        return False


def require_dali() -> None:
    """Check that DALI is there.

    Raises:
        ShardUsageError: it is not; the message names the extra to install.
    """
    if not installed():
        raise ShardUsageError(f"data.reader: dali needs NVIDIA DALI: pip install '{DISTRIBUTION}[dali]'")


def device() -> torch.device:
    """Where DALI leaves the images: this process's GPU, or the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def read_batches(
    split: Split,
    requests: Iterable[tuple[np.ndarray, Crops]],
    largest: int,
    threads: int,
    prefetch: int,
    beyond_border: bool,
) -> Iterator[torch.Tensor]:
    """The images of one request after the other.

    Args:
        requests: ids, int64 [B], and what to show of them.
        largest: number of samples in the largest request.
        threads: number of threads that read, and of as many that decode.
        prefetch: number of batches that DALI has ready; as many per thread are read ahead of it.
        beyond_border: whether windows reach beyond the image.

    Yields:
        uint8 RGB [B, resolution, resolution, 3], on `device()`.

    Raises:
        ShardDamage: for the first sample that cannot be read or decoded, when its batch is due.
    """
    where = device()
    batches = encoded_batches(split, requests, threads, threads * prefetch)
    source = _Source(split, batches, _input_count(beyond_border))
    names = _Inputs._fields[: _input_count(beyond_border)]
    pipeline = dali_graphs.decoding(source, names, largest, threads, prefetch, where.index)
    try:
        while True:
            try:
                # On the GPU the consumer's stream waits for the images, not the consumer, and DALI takes their memory
                # back only after what that stream does with them.
                (images,) = pipeline.run(torch.cuda.current_stream(where) if where.type == "cuda" else None)
            except StopIteration:
                break
            except RuntimeError as error:
                raise _naming_the_sample(split, source.under_way, error) from None
            yield from source.empty_ones(where)
            # With its default executor DALI allocates outputs batch by batch: the tensor owns this one from here on.
            source.under_way.popleft()
            yield torch.from_dlpack(images.as_tensor())
        yield from source.empty_ones(where)
        if source.damage:
            raise source.damage
    finally:
        batches.close()  # ends the threads


class _Source:
    """Iterates over DALI's inputs, batch by batch.

    Attributes:
        under_way: the batches that DALI has been given and has not given back decoded yet.
        damage: to a sample, at which the iteration has ended. It is to be raised when the batches before it are done.
    """

    def __init__(self, split: Split, batches: Iterator[EncodedBatch], inputs: int):
        self.under_way: deque[EncodedBatch] = deque()
        self.damage: ShardDamage | None = None
        self._split, self._batches, self._inputs = split, batches, inputs

    def __iter__(self) -> _Source:
        return self

    def __next__(self) -> tuple[Any, ...]:
        while True:
            try:
                batch = next(self._batches)
            except ShardDamage as damage:
                self.damage = damage
                raise StopIteration from None
            self.under_way.append(batch)
            if batch.images:  # DALI takes no empty batches: `empty_ones` gives their images
                return _inputs(self._split, batch)[: self._inputs]

    def empty_ones(self, where: torch.device) -> Iterator[torch.Tensor]:
        """The images of the empty batches that are next in turn."""
        while self.under_way and not self.under_way[0].images:
            side = self.under_way.popleft().crops.resolution
            yield torch.empty((0, side, side, 3), dtype=torch.uint8, device=where)


class _Inputs(NamedTuple):
    """What DALI is given for a batch. Places and sizes are in pixels, in the order (down, across).

    Attributes:
        images: encoded, uint8 [bytes] each.
        part, part_shape: the part of each image to decode, int32 [B, 2].
        begin, end: the window in the decoded part, float32 [B, 2]; where the image is to be mirrored, it begins on the
            right and ends on the left.
        size: to which the window is resized, float32 [B, 2].
        beside, above: the strips that continue the part beyond the image's border by reflection, int32 [B, 4]: start
            and length, in the mirrored part, of the strip before it and of the strip behind it.
    """

    images: list[np.ndarray]
    part: np.ndarray
    part_shape: np.ndarray
    begin: np.ndarray
    end: np.ndarray
    size: np.ndarray
    beside: np.ndarray
    above: np.ndarray


def _input_count(beyond_border: bool) -> int:
    """How many of the inputs a pipeline takes: it takes the strips, the last two, only where they are needed."""
    return len(_Inputs._fields) - (0 if beyond_border else 2)


def _inputs(split: Split, batch: EncodedBatch) -> _Inputs:
    rows = split.index[batch.ids]
    sizes = np.stack([rows["height"], rows["width"]], axis=1).astype(np.int64)
    windows, resolution = batch.crops.windows.tolist(), batch.crops.resolution
    places = [
        _edges(image, size, window, resolution)
        for image, size, window in zip(batch.images, sizes.tolist(), windows, strict=True)
    ]
    edges = np.asarray(places)[:, [1, 0, 3, 2]]  # top, left, bottom, right
    first, last = np.floor(edges[:, :2]).astype(np.int64), np.ceil(edges[:, 2:]).astype(np.int64)
    part, part_end = np.maximum(first, 0), np.minimum(last, sizes)
    most = part_end - part - 1  # pixels that a strip can have; it would be longer only by rounding, with wide padding
    before, behind = np.minimum(part - first, most), np.minimum(last - part_end, most)
    strips = np.stack([most - before, before, np.ones_like(before), behind], axis=2)  # [B, axis, 4]
    begin, end = edges[:, :2] - (part - before), edges[:, 2:] - (part - before)
    mirrored = batch.crops.flips
    begin[mirrored, 1], end[mirrored, 1] = end[mirrored, 1], begin[mirrored, 1]
    return _Inputs(
        images=[np.frombuffer(image, np.uint8) for image in batch.images],
        part=np.ascontiguousarray(part, np.int32),
        part_shape=np.ascontiguousarray(part_end - part, np.int32),
        begin=np.ascontiguousarray(begin, np.float32),
        end=np.ascontiguousarray(end, np.float32),
        size=np.full((len(windows), 2), resolution, np.float32),
        beside=np.ascontiguousarray(strips[:, 1], np.int32),
        above=np.ascontiguousarray(strips[:, 0], np.int32),
    )


def _edges(image: bytes, size: list[int], window: list[int], resolution: int) -> tuple[float, ...]:
    """What the Python reader shows of an image, in pixels as it is stored: left, top, right, bottom."""
    (height, width), (x, y, w, h) = size, window
    return (x, y, x + w, y + h) if is_png(image) else shown_edges(height, width, (x, y, w, h), resolution)


def _naming_the_sample(split: Split, batches: Iterable[EncodedBatch], error: RuntimeError) -> RuntimeError:
    """The error to raise for one of DALI's, which ends at the first image it cannot decode and does not name it."""
    for batch in batches:
        for sample, image, window in zip(batch.ids.tolist(), batch.images, batch.crops.windows, strict=True):
            try:
                decode(image, window, False, batch.crops.resolution)
            except ValueError as reason:
                return split.damage(sample, f"not a whole {format_name(image)}: {reason}")
    said = " ".join(str(error).split())
    if "decoders.image_slice" not in said:
        return error
    samples = ", ".join(split.key(sample) for batch in batches for sample in batch.ids.tolist())
    return ShardDamage(split.folder, f"DALI cannot decode all of the samples {samples}, the Python reader can: {said}")
