"""Packs a source into shards, index and manifest: in parallel, and visible only once whole."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import Progress, TaskID

from data_shards.durable_file import write_durably
from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.index import open_split
from data_shards.manifest import FORMAT, INDEX_NAME, MANIFEST_NAME, Manifest, ShardEntry, SplitEntry, read_manifest
from data_shards.progress import sample_progress
from data_shards.shard_writer import ShardWriter
from data_shards.sources import Source

_LOCK_NAME = ".lock"


class _ShardPlan(NamedTuple):
    split: str
    number: int
    start: int
    stop: int


def pack(source: Source, out: Path | str, samples_per_shard: int = 5000, threads: int | None = None) -> bool:
    """Packs `source` into the folder `out`.

    Everything is written to `out.packing` beside it, which takes the name `out` when it is complete; a pack that was
    killed leaves `out` as it was. The bytes do not depend on `threads` (as many as processors by default).

    Returns False, and does nothing, if `out` already holds exactly this data set. Raises ShardUsageError if it holds
    anything else, or another process is packing there.
    """
    out = Path(out)
    if samples_per_shard < 1:
        raise ShardUsageError(f"samples per shard: {samples_per_shard} is not a positive number")
    if _already_packed(source, out, samples_per_shard):
        return False
    with _packing_folder(out) as folder:
        plans = [
            _ShardPlan(split, number, start, min(start + samples_per_shard, samples))
            for split, samples in source.splits.items()
            for number, start in enumerate(range(0, samples, samples_per_shard))
        ]
        for split in source.splits:
            (folder / split).mkdir()
        with sample_progress() as progress, ThreadPoolExecutor(threads or os.cpu_count()) as pool:
            task = progress.add_task(f"packing {source.name}", total=sum(source.splits.values()))
            shards = list(pool.map(lambda shard: _write_shard(source, folder, shard, progress, task), plans))
        splits = {}
        for split in source.splits:
            parts = [part for plan, part in zip(plans, shards, strict=True) if plan.split == split]
            splits[split] = _write_index(folder / split, parts)
        Manifest(
            format=FORMAT,
            dataset=source.name,
            classes=source.classes,
            options=dict(source.options),
            samples_per_shard=samples_per_shard,
            splits=splits,
        ).write(folder)
    return True


def _already_packed(source: Source, out: Path, samples_per_shard: int) -> bool:
    if out.is_file():
        raise ShardUsageError(f"{out} is a file, not a folder to pack into")
    if not out.exists() or not any(out.iterdir()):
        return False
    if not (out / MANIFEST_NAME).exists():
        raise ShardUsageError(f"{out} is not empty and holds no packed data set: choose another folder")
    held = read_manifest(out)
    wanted = (source.name, dict(source.options), samples_per_shard)
    if (held.dataset, held.options, held.samples_per_shard) != wanted:
        raise ShardUsageError(
            f"{out} already holds {_describe(held.dataset, held.options, held.samples_per_shard)}, not "
            f"{_describe(*wanted)}: choose another folder, or delete that one first"
        )
    for split in held.splits:
        try:
            open_split(out, split)
        except ShardDamage as damage:
            raise ShardDamage(damage.shard, f"{damage.reason}; delete {out} and pack it again") from None
    return True


def _describe(dataset: str, options: dict[str, int | str], samples_per_shard: int) -> str:
    values = {**options, "samples-per-shard": samples_per_shard}
    return f"{dataset} ({', '.join(f'{name} {value}' for name, value in values.items())})"


@contextmanager
def _packing_folder(out: Path) -> Iterator[Path]:
    """An empty folder beside `out`, locked against other processes, that becomes `out` unless an error is raised."""
    folder = out.with_name(out.name + ".packing")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _LOCK_NAME, "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ShardUsageError(f"another process is packing into {out} at this moment") from None
        for left_over in folder.iterdir():  # from a pack that was killed
            if left_over.is_dir():
                shutil.rmtree(left_over)
            elif left_over.name != _LOCK_NAME:
                left_over.unlink()
        yield folder
        os.unlink(folder / _LOCK_NAME)
        try:
            os.rename(folder, out)
        except OSError as error:
            raise ShardUsageError(f"{out}: cannot put the packed shards there: {error.strerror}") from None


def _write_shard(
    source: Source, folder: Path, plan: _ShardPlan, progress: Progress, task: TaskID
) -> tuple[ShardEntry, np.ndarray]:
    path = folder / plan.split / f"{plan.split}-{plan.number:06d}.tar"
    with ShardWriter(path, plan.number, plan.start) as writer:
        for number, sample in enumerate(source.samples(plan.split, plan.start, plan.stop), start=plan.start):
            if not 0 <= sample.label < len(source.classes):
                raise ShardUsageError(
                    f"{source.name}: sample {number} of {plan.split} has the label {sample.label}, which is not one "
                    f"of 0 … {len(source.classes) - 1}"
                )
            writer.write(sample)
            progress.advance(task)
    return writer.entry, writer.rows


def _write_index(folder: Path, parts: list[tuple[ShardEntry, np.ndarray]]) -> SplitEntry:
    index = np.concatenate([rows for _, rows in parts])
    content = io.BytesIO()
    np.save(content, index, allow_pickle=False)
    write_durably(folder / INDEX_NAME, content.getvalue())
    return SplitEntry(
        samples=len(index),
        index_sha256=hashlib.sha256(content.getvalue()).hexdigest(),
        shards=tuple(entry for entry, _ in parts),
    )
