"""What it costs to start, and to resume, at the size of ImageNet: seconds and memory until the first ids are known.

The data set is an index and a manifest of 1,281,167 samples in 1282 shards; the tars have their length and no content,
as a start must not read them. Each rank is a process of its own, `python -m pipeline.bench.reading.start SHARDS STEP
RANK WORLD`; all of them import first and wait for a line on their standard input, so that they start together. It
prints what a `Start` holds, as JSON.

A rank keeps two cores busy when it starts, itself and the server of its reader processes, which imports in the
background. No more ranks are started together than the machine has cores for: they do not wait for each other, and
beyond that one would measure how a machine that is too small for them is shared.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data_shards.augmentation.config import Augmentation
from data_shards.config import DataConfig
from data_shards.loading.loader import TrainLoader
from data_shards.store.index import INDEX_DTYPE, open_split
from data_shards.store.manifest import FORMAT, INDEX_NAME, Manifest, ShardEntry, SplitEntry
from pipeline.errors import RunFailure

SAMPLES, SHARDS = 1_281_167, 1282
BATCH, EPOCHS, SEED = 1024, 300, 0

_CLASSES = 1000
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Start(NamedTuple):
    """What one rank's start takes.

    Attributes:
        ready_seconds: until the loader is ready.
        first_ids_seconds: until the ids of its first step are known.
        cpu_seconds: of the process.
        peak_bytes: of its memory; None where the system does not tell (Linux does).
        added_bytes: by how much the start raised that, above an interpreter that has imported the same; or None.
    """

    ready_seconds: float
    first_ids_seconds: float
    cpu_seconds: float
    peak_bytes: int | None
    added_bytes: int | None


def late_step(samples: int) -> int:
    """A step in the middle of a late epoch."""
    steps = samples // BATCH
    return 250 * steps + steps // 2


def make_large(root: Path, samples: int, shards: int) -> Path:
    """A packed data set below `root` whose shards are holes; returns its folder."""
    generator = np.random.default_rng(0)
    index = np.zeros(samples, INDEX_DTYPE)
    index["shard"] = np.arange(samples) * shards // samples
    index["label"] = generator.integers(_CLASSES, size=samples)
    index["height"], index["width"] = generator.integers(320, 513, (2, samples))
    index["size"] = generator.integers(20_000, 200_000, samples)
    places = 2048 + (index["size"].astype(np.int64) + 511) // 512 * 512  # the headers, the label, the image
    ends = np.cumsum(places)
    begins = (ends - places)[np.searchsorted(index["shard"], np.arange(shards))]  # of the shards
    index["offset"] = ends - places - begins[index["shard"]] + 512
    lengths, counts = np.diff([*begins, ends[-1]]) + 1024, np.bincount(index["shard"], minlength=shards)
    folder = root / "large"
    (folder / "train").mkdir(parents=True)
    entries = []
    for number, (count, length) in enumerate(zip(counts.tolist(), lengths.tolist(), strict=True)):
        name = f"train-{number:06d}.tar"
        with open(folder / "train" / name, "wb") as file:
            file.truncate(length)
        digest = hashlib.sha256(name.encode()).hexdigest()  # of any 64 digits; a start reads no shard
        entries.append(ShardEntry(name=name, samples=count, bytes=length, sha256=digest))
    content = io.BytesIO()
    np.save(content, index, allow_pickle=False)
    (folder / "train" / INDEX_NAME).write_bytes(content.getvalue())
    split = SplitEntry(
        samples=samples, index_sha256=hashlib.sha256(content.getvalue()).hexdigest(), shards=tuple(entries)
    )
    Manifest(
        format=FORMAT,
        dataset="holes",
        classes=tuple(f"n{label:08d}" for label in range(_CLASSES)),
        options={},
        samples_per_shard=-(-samples // shards),
        splits={"train": split},
    ).write(folder)
    return folder


def measure_starts(root: Path, samples: int, shards: int, worlds: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each number of ranks, of a start and of a resume: the slowest rank's seconds, the greatest memory."""
    folder, rows = make_large(root, samples, shards), []
    for world in worlds:
        for step in (0, late_step(samples)):
            starts = start_together(folder, step, world)
            worst = {name: max(getattr(each, name) for each in starts) for name in Start._fields}
            rows.append({"samples": samples, "ranks": world, "at_once": len(starts), "step": step, **worst})
    return rows


def at_once(world: int) -> int:
    """How many of `world` ranks are started at the same moment here."""
    return min(world, max(1, (os.cpu_count() or 1) // 2))


def start_together(shards: Path, step: int, world: int) -> Sequence[Start]:
    """The first ranks' starts at `step`, at the same moment: as many as `at_once` says.

    Raises:
        RunFailure: where one of them fails.
    """
    command = [sys.executable, "-m", "pipeline.bench.reading.start", str(shards), str(step)]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(world)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for rank in range(at_once(world))
    ]
    try:
        for process in ranks:
            assert process.stdout is not None
            process.stdout.readline()  # it has imported
        found = []
        for process in ranks:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.flush()
        for rank, process in enumerate(ranks):
            output, errors = process.communicate()
            if process.returncode:
                last = (errors.decode().strip().splitlines() or ["killed"])[-1]
                raise RunFailure(
                    f"start of rank {rank} of {world}: its process ended with {process.returncode}: {last}"
                )
            found.append(Start(**json.loads(output)))
        return found
    finally:
        for process in ranks:
            process.kill()
            process.wait()


def _start(shards: Path, step: int, rank: int, world: int) -> Start:
    tells = _CLEAR.exists()
    if tells:
        _CLEAR.write_text("5", encoding="utf-8")  # the peak is counted from here
    before, cpu, began = _bytes("VmRSS") if tells else 0, time.process_time(), time.perf_counter()
    split = open_split(shards, "train")
    config = DataConfig(shards=shards, augmentation=Augmentation(crop="random_resized", flip=True), workers=1)
    end = EPOCHS * (len(split) // BATCH)
    loader = TrainLoader(split, config, 224, BATCH, SEED, rank, world, start_step=step, end_step=end)
    ready = time.perf_counter() - began
    ids = loader.sampler.rank_ids(step, rank, world)
    first = time.perf_counter() - began
    assert len(ids) == BATCH // world
    peak = _bytes("VmHWM") if tells else None
    added = None if peak is None else peak - before
    return Start(ready, first, time.process_time() - cpu, peak, added)


def _bytes(key: str) -> int:
    line = next(line for line in _STATUS.read_text(encoding="utf-8").splitlines() if line.startswith(f"{key}:"))
    return 1024 * int(line.split()[1])


def _main(arguments: Sequence[Any]) -> None:
    folder, step, rank, world = arguments
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(_start(Path(folder), int(step), int(rank), int(world))._asdict()))


if __name__ == "__main__":
    _main(sys.argv[1:])
