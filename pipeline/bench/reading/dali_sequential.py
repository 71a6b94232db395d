"""DALI's own way with WebDataset shards, as its documentation shows it: sequential, with a buffer that shuffles."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from data_shards.decoding import dali as dali_reader
from data_shards.store.index import open_split
from pipeline.bench.reading.photographs import Photographs
from pipeline.bench.reading.shown import BATCH, PREFETCH, RESOLUTION, SEED, Shown

_BLOCK = 512  # of a tar, in bytes


def sequential(data: Photographs, workers: int, endless: bool) -> Generator[Shown, None, None]:
    where = dali_reader.device()
    pipeline = _pipeline(data, workers, where.index)
    for _ in itertools.count() if endless else range(data.images // BATCH):
        images, labels = pipeline.run(torch.cuda.current_stream(where) if where.type == "cuda" else None)
        as_text = [bytes(np.asarray(label)) for label in labels]
        yield Shown(torch.from_dlpack(images.as_tensor()), torch.tensor([int(label) for label in as_text]), None)


def write_indexes(data: Photographs) -> None:
    """Write what DALI's `wds2idx` would of each shard, SHARD.idx beside it, from our index."""
    split = open_split(data.shards, "train")
    for number, shard in enumerate(split.entry.shards):
        ids = np.flatnonzero(split.index["shard"] == number)
        lines = [f"v1.2 {len(ids)}", *(_line(split.key(sample), split.index[sample]) for sample in ids.tolist())]
        _index_of(split.folder / shard.name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _line(key: str, row: np.void) -> str:
    """The members of one sample: extension, offset and size in bytes, and name of each."""
    offset, size = int(row["offset"]), int(row["size"])
    label_offset = offset + -(-size // _BLOCK) * _BLOCK + _BLOCK  # the label follows the image, after its own header
    return f"jpg {offset} {size} {key}.jpg cls {label_offset} {len(str(row['label']))} {key}.cls"


def _index_of(shard: Path) -> Path:
    return shard.with_suffix(".idx")


def _pipeline(data: Photographs, threads: int, gpu: int | None) -> Any:
    from nvidia.dali import Pipeline  # pyright: ignore[reportMissingImports]
    from nvidia.dali import fn as operators  # pyright: ignore[reportMissingImports]
    from nvidia.dali import types as dali_types  # pyright: ignore[reportMissingImports]

    fn, types = cast(Any, operators), cast(Any, dali_types)  # its own type hints refuse ordinary calls
    shards = sorted((data.shards / "train").glob("*.tar"))
    pipeline = Pipeline(BATCH, num_threads=threads, device_id=gpu, prefetch_queue_depth=PREFETCH, seed=SEED)
    with pipeline:
        encoded, labels = fn.readers.webdataset(
            paths=[str(shard) for shard in shards],
            index_paths=[str(_index_of(shard)) for shard in shards],
            ext=["jpg", "cls"],
            missing_component_behavior="error",
            random_shuffle=True,
            name="reader",
        )
        images = fn.decoders.image_random_crop(
            encoded,
            device="cpu" if gpu is None else "mixed",
            output_type=types.RGB,
            random_area=[0.08, 1.0],
            random_aspect_ratio=[3 / 4, 4 / 3],
        )
        images = fn.resize(images, size=RESOLUTION, interp_type=types.INTERP_LINEAR, antialias=True)
        images = fn.crop_mirror_normalize(
            images,
            dtype=types.UINT8,
            output_layout="HWC",
            mean=[0.0, 0.0, 0.0],
            std=[1.0, 1.0, 1.0],
            mirror=fn.random.coin_flip(),
        )
        pipeline.set_outputs(images, labels)
    pipeline.build()
    return pipeline
