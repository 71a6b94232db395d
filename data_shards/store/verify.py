"""Verifies a packed data set: reads every byte of it, and tells what is not as it was packed."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from data_shards.errors import ShardDamage
from data_shards.store.image_format import IMAGE_EXTENSIONS, claimed_size, decode_whole, format_name
from data_shards.store.index import read_index, sample_key
from data_shards.store.manifest import INDEX_NAME, Manifest, ShardEntry, read_manifest
from data_shards.store.progress import sample_progress
from data_shards.store.tar_walk import Break, Member, TarWalk

_MOST_DIGITS = 10  # of a label

_Problems: TypeAlias = dict[int, tuple[int | None, str]]  # by sample: place in bytes, and what is wrong


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was packed.

    Attributes:
        shard: path of the file.
        key: of the first sample concerned; None where no sample can be named.
        offset: place in the file, in bytes.
        reason: what is wrong.
        samples: how many samples are lost or altered by it, consecutive ones from `key` on; 0 where none is known to
            be.
    """

    shard: str
    key: str | None
    offset: int | None
    reason: str
    samples: int

    def __str__(self) -> str:
        line = str(ShardDamage(self.shard, self.reason, self.key, self.offset))
        return line if self.samples <= 1 else f"{line} ({self.samples} samples from this one on)"

    def as_dict(self) -> dict[str, str | int | None]:
        return asdict(self)


def verify(root: Path | str, threads: int | None = None) -> list[Damage]:
    """Check every file of a data set.

    Checked are each index's checksum, each shard's length and SHA-256, the structure of each tar, and each sample: its
    CRC-32, its label, and whether the image decodes to the size that the index gives.

    Args:
        root: folder of the data set.
        threads: number of shards that are read at a time; as many as processors by default.

    Returns:
        What is not as it was packed; an empty list where all is.

    Raises:
        ShardUsageError: there is no data set.
        ShardDamage: its manifest cannot be read.
    """
    root = Path(root)
    manifest = read_manifest(root)
    total = sum(entry.samples for entry in manifest.splits.values())
    damages: list[Damage] = []
    with sample_progress() as progress, ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        task = progress.add_task("verifying", total=total)
        for name in manifest.splits:
            check = _SplitCheck(root, name, manifest)
            damages += check.around_shards()
            for found, entry in zip(
                pool.map(check.shard, range(len(check.entry.shards))), check.entry.shards, strict=True
            ):
                damages += found
                progress.advance(task, entry.samples)
    return damages


class _SplitCheck:
    """Checks one split. `rows` is its index; None where that is damaged, and shards are checked without it."""

    def __init__(self, root: Path, name: str, manifest: Manifest):
        self.folder, self.entry, self.classes = root / name, manifest.splits[name], len(manifest.classes)
        self.first = np.cumsum([0] + [shard.samples for shard in self.entry.shards])  # id of each shard's first sample
        self.rows: np.ndarray | None = None
        self.index_damage: ShardDamage | None = None
        try:
            self.rows = read_index(self.folder / INDEX_NAME, self.entry, self.classes)
        except ShardDamage as damage:
            self.index_damage = damage

    def around_shards(self) -> Iterator[Damage]:
        """Damage to the index, and files that do not belong to the split."""
        if self.index_damage is not None:
            found = self.index_damage
            yield Damage(found.shard, found.key, found.offset, found.reason, 0)
        known = {INDEX_NAME, *(shard.name for shard in self.entry.shards)}
        if self.folder.is_dir():
            for path in sorted(self.folder.iterdir()):
                if path.name not in known:
                    yield Damage(str(path), None, None, "is not in the manifest: it was not packed with the others", 0)

    def shard(self, number: int) -> list[Damage]:
        """All damage to one shard: first to its samples, in their order, then between them, then to the whole file."""
        entry, first = self.entry.shards[number], int(self.first[number])
        walk = TarWalk(self.folder / entry.name)
        try:
            problems, others = self._walk(walk, entry, first)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
            return [Damage(str(walk.path), sample_key(first), walk.bytes or None, reason, entry.samples)]
        damages = _merged(walk.path, problems) + others
        if walk.unreadable:
            damages.append(Damage(str(walk.path), None, walk.bytes, f"{walk.unreadable} from here on", 0))
        elif walk.bytes != entry.bytes:
            damages.append(Damage(str(walk.path), None, None, f"has {walk.bytes} bytes; {entry.bytes} were packed", 0))
        elif walk.sha256 != entry.sha256:
            what = "SHA-256 differs" + ("" if damages else ", though each sample is whole: a header or filling byte")
            damages.append(Damage(str(walk.path), None, None, what, 0))
        return damages

    def _walk(self, walk: TarWalk, entry: ShardEntry, first: int) -> tuple[_Problems, list[Damage]]:
        """Read a shard: what is wrong with its samples, and what is wrong between them."""
        problems: _Problems = {}
        others: list[Damage] = []
        seen: set[tuple[int, str]] = set()
        for found in walk:
            sample = None if isinstance(found, Break) else _sample_of(found.name, entry, first)
            if isinstance(found, Break):
                others.append(Damage(str(walk.path), None, found.offset, found.reason, 0))
            elif sample is None:
                reason = f"the member {found.name!r} is not among the samples packed into this shard"
                others.append(Damage(str(walk.path), None, found.offset, reason, 0))
            else:
                part = (sample, "label" if found.name.endswith(".cls") else "image")
                if part in seen:
                    problem = f"{found.name} occurs twice"
                elif len(found.payload) < found.size:
                    why = walk.unreadable or f"the shard ends after {len(found.payload)} of its {found.size} bytes"
                    problem = f"{found.name} is cut: {why}"
                else:
                    problem = self._check_member(found, sample)
                if problem:
                    problems.setdefault(sample, (found.offset, problem))
                seen.add(part)
        cut = f": the shard ends at byte {walk.bytes}" if walk.bytes < entry.bytes else ""
        if walk.unreadable:
            cut = f": the shard {walk.unreadable}"
        for sample in range(first, first + entry.samples):
            missing = [part for part in ("image", "label") if (sample, part) not in seen]
            if missing:
                what = "the sample" if len(missing) == 2 else f"its {missing[0]}"
                problems.setdefault(sample, (self._expected(sample), f"{what} is missing{cut}"))
        return problems, others

    def _expected(self, sample: int) -> int | None:
        return None if self.rows is None else int(self.rows[sample]["offset"])

    def _check_member(self, member: Member, sample: int) -> str | None:
        """What is wrong with a member that is not cut, in words; None where nothing is."""
        row = None if self.rows is None else self.rows[sample]
        if member.name.endswith(".cls"):
            return self._check_label(member.payload, None if row is None else int(row["label"]))
        if row is not None and (member.offset, member.size) != (row["offset"], row["size"]):
            return "the image has another place or size than the index says"
        if member.size == 0:
            return "the image is empty (zero bytes)"
        intact = row is None or zlib.crc32(member.payload) == row["crc32"]
        altered = "" if intact else "the image's bytes are not those that were packed (CRC-32 differs); "
        try:
            height, width = claimed_size(member.payload)
            if row is not None and (height, width) != (row["height"], row["width"]):
                return f"{altered}the image is {width}×{height}; the index says {row['width']}×{row['height']}"
            decode_whole(member.payload)
        except ValueError as error:
            return f"{altered}not a whole {format_name(member.payload)}: {error}"
        return altered.rstrip("; ") or None

    def _check_label(self, payload: bytes, label: int | None) -> str | None:
        if len(payload) > _MOST_DIGITS or not payload.isdigit() or int(payload) >= self.classes:
            return f"the label {payload[:20]!r} is not one of 0 … {self.classes - 1}"
        if label is not None and int(payload) != label:
            return f"the label is {int(payload)}; the index says {label}"
        return None


def _sample_of(member: str, entry: ShardEntry, first: int) -> int | None:
    """The id of the sample that a member belongs to, if it belongs to this shard."""
    key, _, kind = member.partition(".")
    if kind not in (*IMAGE_EXTENSIONS, "cls") or not key.isascii() or not key.isdigit():
        return None
    sample = int(key)
    return sample if sample_key(sample) == key and first <= sample < first + entry.samples else None


def _merged(path: Path, problems: _Problems) -> list[Damage]:
    """One Damage for each run of consecutive samples with the same problem: a cut shard is one line, not thousands."""
    damages: list[Damage] = []
    previous = None
    for sample, (offset, reason) in sorted(problems.items()):
        if previous == (sample - 1, reason):
            last = damages.pop()
            damages.append(Damage(last.shard, last.key, last.offset, reason, last.samples + 1))
        else:
            damages.append(Damage(str(path), sample_key(sample), offset, reason, 1))
        previous = (sample, reason)
    return damages
