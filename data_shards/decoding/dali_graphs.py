"""DALI's pipelines: one decodes images for `decoding.dali`, the other reads shards for `streaming.dali`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

LISTED = "jpg"  # the extension of all images in a listing: DALI goes by their places, not by their names


def decoding(
    source: Iterator[tuple[Any, ...]], names: Sequence[str], largest: int, threads: int, prefetch: int, gpu: int | None
) -> Any:
    """A pipeline that decodes, crops, resizes and mirrors images: to uint8 RGB [resolution, resolution, 3] each.

    Args:
        source: gives a tuple of lists or arrays for each batch (`decoding.dali` tells which).
        names: of the tuple's elements. Where `beside` and `above` are among them, images are continued beyond their
            border.
        largest: number of samples in the largest batch.
        threads: number of threads that decode.
        prefetch: number of batches that are kept ready.
        gpu: number of the GPU that decodes; None for the CPU.
    """
    Pipeline, fn, types = _dali()
    dtypes = [types.UINT8, *[types.INT32] * 2, *[types.FLOAT] * 3, *[types.INT32] * 2][: len(names)]
    pipeline = Pipeline(max(largest, 1), num_threads=threads, device_id=gpu, prefetch_queue_depth=prefetch)
    with pipeline:
        nodes = fn.external_source(source, num_outputs=len(dtypes), dtype=dtypes, ndim=1)
        given = dict(zip(names, nodes, strict=True))
        images = fn.decoders.image_slice(
            given["images"],
            start=given["part"],
            shape=given["part_shape"],
            axes=[0, 1],
            device="cpu" if gpu is None else "mixed",
            output_type=types.RGB,
            adjust_orientation=False,  # the index and the Python reader do not turn images either
            **({} if gpu is None else {"jpeg_fancy_upsampling": True}),  # as libjpeg does on the CPU
        )
        if "beside" in given:
            images = _continued(fn, images, given["beside"], axis=1)
            images = _continued(fn, images, given["above"], axis=0)
        # Of DALI's filters this one is nearest to OpenCV's. It mirrors too: another operator would copy the images.
        images = fn.resize(
            images,
            size=given["size"],
            roi_start=given["begin"],
            roi_end=given["end"],
            interp_type=types.INTERP_LINEAR,
            antialias=True,
        )
        pipeline.set_outputs(images)
    pipeline.build()
    return pipeline


def _continued(fn: Any, images: Any, strips: Any, axis: int) -> Any:
    """The images with strips of their mirror images before and behind them (see `decoding.dali._Inputs`)."""
    mirrored = fn.flip(images, horizontal=int(axis == 1), vertical=int(axis == 0))
    before = fn.slice(mirrored, start=strips[0:1], shape=strips[1:2], axes=[axis])
    behind = fn.slice(mirrored, start=strips[2:3], shape=strips[3:4], axes=[axis])
    return fn.cat(before, images, behind, axis=axis)


def stored_samples(shard: Path, listing: Path, batch: int) -> Any:
    """A pipeline that reads samples of a tar: the bytes as they are stored, and `PATH:OFFSET:KEY`, both as uint8 [B].

    Args:
        shard: the tar.
        listing: a file in DALI's index format, which lists the samples to read.
        batch: number of samples read at a time. After the last sample DALI begins anew.
    """
    Pipeline, fn, _ = _dali()
    pipeline = Pipeline(batch, num_threads=1, device_id=None, prefetch_queue_depth=2)
    with pipeline:
        images = fn.readers.webdataset(
            paths=[str(shard)],
            index_paths=[str(listing)],
            ext=[LISTED],
            missing_component_behavior="error",
            dont_use_mmap=True,  # to read from a mapped file that was cut would end the process
        )
        pipeline.set_outputs(images, fn.get_property(images, key="source_info"))
    pipeline.build()
    return pipeline


def _dali() -> tuple[Any, Any, Any]:
    from nvidia.dali import Pipeline, fn, types  # pyright: ignore[reportMissingImports]

    return Pipeline, cast(Any, fn), cast(Any, types)  # its own type hints refuse ordinary calls
