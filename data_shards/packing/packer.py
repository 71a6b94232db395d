"""Packs shards by several threads, and takes over those that an earlier attempt has finished."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeAlias

import numpy as np
from rich.progress import Progress, TaskID

from data_shards.errors import ShardUsageError
from data_shards.packing.contents import ShardContents
from data_shards.packing.folder import PackingFolder, writing
from data_shards.packing.record import RecordFiles, ShardRecord
from data_shards.packing.writer import ShardWriter
from data_shards.sources import Sample, Source, Undecodable
from data_shards.store.image_format import format_name, stored_size
from data_shards.store.manifest import FORMAT
from data_shards.store.progress import sample_progress

# Images that cannot be decoded: by split, by position in the source.
Undecodables: TypeAlias = dict[str, dict[int, Undecodable]]

_UNDECODABLE_NAME = "undecodable.json"


class FinishedShard(NamedTuple):
    """A shard that is written to the end, and the files of its record."""

    record: ShardRecord
    files: RecordFiles


class _Stopped(Exception):  # noqa: N818 (nothing went wrong here)
    """Raised in a thread because another one met an error."""


class ShardPacker:
    """Packs shards of one source into one folder. Packed anew, a shard whose contents are the same is kept."""

    def __init__(self, source: Source, folder: PackingFolder, threads: int):
        self.source, self.folder, self.threads = source, folder, threads
        self._finished: dict[str, FinishedShard] = {}  # by fingerprint
        self._stop = threading.Event()
        self._error: BaseException | None = None  # the first of any thread

    def pack(self, wanted: list[ShardContents]) -> tuple[dict[str, list[FinishedShard]], Undecodables]:
        """Pack shards. After an error threads stop at their next image; shards that are finished are kept.

        Returns:
            The finished shards by split, in order; and the undecodable images of the others.

        Raises:
            ShardDamage: a shard cannot be written; also whatever the source raises.
        """
        finished: dict[str, list[FinishedShard]] = {split: [] for split in self.source.splits}
        found: Undecodables = {}
        with sample_progress() as progress, ThreadPoolExecutor(self.threads) as pool:
            task = progress.add_task(f"packing {self.source.name}", total=sum(len(each.positions) for each in wanted))
            try:
                for shard, result in zip(
                    wanted, pool.map(lambda each: self._guarded(each, progress, task), wanted), strict=True
                ):
                    if isinstance(result, FinishedShard):
                        finished[shard.split].append(result)
                    else:
                        found.setdefault(shard.split, {}).update(result)
            except _Stopped:
                assert self._error is not None, "a thread stops because another one met an error"
                raise self._error from None
            finally:
                self._stop.set()  # for an interruption; otherwise all threads have finished
        self._stop.clear()
        self._note(found)
        return finished, found

    def still_undecodable(self) -> Undecodables:
        """Images that an earlier attempt could not decode, and that cannot be decoded now either."""
        found: Undecodables = {}
        for split, positions in self._noted().items():
            known = [position for position in positions if position < self.source.splits.get(split, 0)]
            for position, sample in zip(known, self.source.samples(split, np.array(known, int)), strict=True):
                if isinstance(sample, Undecodable):
                    found.setdefault(split, {})[position] = sample
        return found

    def _noted(self) -> dict[str, list[int]]:
        """Positions of images that earlier attempts could not decode, by split."""
        try:
            return json.loads((self.folder.records / _UNDECODABLE_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # no earlier attempt, or one that was killed while it wrote: these images will be met again

    def _note(self, found: Undecodables) -> None:
        if found:
            noted = self._noted()
            both = {split: sorted({*noted.get(split, ()), *found.get(split, ())}) for split in {*noted, *found}}
            with writing(self.folder.records):
                (self.folder.records / _UNDECODABLE_NAME).write_text(json.dumps(both), encoding="utf-8")

    def _guarded(
        self, shard: ShardContents, progress: Progress, task: TaskID
    ) -> FinishedShard | dict[int, Undecodable]:
        """`_shard`, but an error makes the other threads stop."""
        if self._stop.is_set():
            raise _Stopped
        try:
            return self._shard(shard, progress, task)
        except _Stopped:
            raise
        except BaseException as error:
            self._error = self._error or error
            self._stop.set()
            raise

    def _shard(self, shard: ShardContents, progress: Progress, task: TaskID) -> FinishedShard | dict[int, Undecodable]:
        """Pack one shard, unless it is finished already; where images cannot be decoded, return these instead."""
        fingerprint = self._fingerprint(shard)
        files = RecordFiles(self.folder.records, shard.name)
        path = self.folder.shards / shard.split / f"{shard.name}.tar"
        if fingerprint not in self._finished and (record := files.read(fingerprint, path)):
            self._finished[fingerprint] = FinishedShard(record, files)
        if fingerprint in self._finished:
            progress.advance(task, len(shard.positions))
            return self._finished[fingerprint]
        undecodable: dict[int, Undecodable] = {}
        changed: Counter[str] = Counter()
        with writing(path), ShardWriter(path, shard.number, shard.first) as writer:
            for position, sample in zip(
                shard.positions.tolist(), self.source.samples(shard.split, shard.positions), strict=True
            ):
                if self._stop.is_set():
                    raise _Stopped
                if isinstance(sample, Undecodable):
                    undecodable[position] = sample
                    writer.discard()
                    progress.advance(task)
                    continue
                self._check(shard.split, position, sample)
                if not undecodable:
                    writer.write(sample)
                    if sample.change is not None:
                        changed[sample.change] += 1
                progress.advance(task)
        if undecodable:
            return undecodable
        with writing(self.folder.records):
            record = files.write(fingerprint, writer.entry, writer.rows, dict(changed))
        self._finished[fingerprint] = FinishedShard(record, files)
        return self._finished[fingerprint]

    def _check(self, split: str, position: int, sample: Sample) -> None:
        """Check a sample: whatever source it comes from, nothing is packed that could not be read.

        Raises:
            ShardUsageError: its label, its image or the size of its image is wrong.
        """
        place, classes = f"{self.source.name}: sample {position} of {split}", len(self.source.classes)
        if not 0 <= sample.label < classes:
            raise ShardUsageError(f"{place} has the label {sample.label}, which is not one of 0 … {classes - 1}")
        try:
            height, width = stored_size(sample.encoded)
        except ValueError as error:
            raise ShardUsageError(f"{place} is not a whole {format_name(sample.encoded)}: {error}") from None
        if (height, width) != (sample.height, sample.width):
            raise ShardUsageError(f"{place} is {width}×{height} pixels, not {sample.width}×{sample.height} as it says")

    def _fingerprint(self, shard: ShardContents) -> str:
        """A hash of all that decides a shard's bytes."""
        what = f"{FORMAT} {self.source.name} {shard.split} {shard.number} {shard.first} {len(shard.positions)} "
        return hashlib.sha256(what.encode() + self.source.identity(shard.split, shard.positions)).hexdigest()
