"""Packs a source as a data set: in parallel, and going on after a kill; it is no data set before all is there."""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np

from data_shards.errors import ShardDamage, ShardUsageError, UndecodableImages
from data_shards.packing.contents import shard_contents
from data_shards.packing.folder import PackingFolder, clear_left_over, holds_pack, packing_folder, writing
from data_shards.packing.packer import FinishedShard, ShardPacker
from data_shards.sources import Source, Undecodable
from data_shards.store.durable_file import write_durably
from data_shards.store.index import open_split
from data_shards.store.manifest import (
    FORMAT,
    INDEX_NAME,
    LeftOut,
    Manifest,
    PackingNotes,
    SplitEntry,
    read_manifest,
)

# Leaving images out is for a few bad files, not for half a disk: at most this share of a split, or so few images.
LEFT_OUT_SHARE, LEFT_OUT_FEW = 0.01, 10


def pack(
    source: Source,
    out: Path | str,
    samples_per_shard: int = 5000,
    threads: int | None = None,
    on_corrupt: Literal["fail", "skip"] = "fail",
) -> bool:
    """Pack `source` into the folder `out`.

    Everything is written to `out/.packing`, and moved when it is complete, the manifest last. An attempt that fails or
    is killed leaves nothing that passes for a data set; the next one takes over the shards that are finished. The bytes
    depend neither on such attempts nor on `threads`.

    Args:
        source: what to pack.
        out: a new folder or an empty one; it may be a mount point, or a link to a folder.
        samples_per_shard: largest number of samples in a shard.
        threads: number of shards that are packed at a time; as many as processors by default.
        on_corrupt: what happens with images that cannot be decoded. `fail`: nothing is packed; `skip`: they are left
            out and listed in the manifest, up to a hundredth of a split.

    Returns:
        Whether anything was packed: not if `out` is exactly this data set already.

    Raises:
        ShardUsageError: before any work, where `out` has anything else in it, lies among the source's images or cannot
            be written, or another process is packing there.
        UndecodableImages: after all images have been looked at.
        ShardDamage: something cannot be read or written, or too many images cannot be decoded.
    """
    out = Path(os.path.realpath(out))
    if samples_per_shard < 1:
        raise ShardUsageError(f"samples per shard: {samples_per_shard} is not a positive number")
    for folder in source.folders:
        if out.is_relative_to(os.path.realpath(folder)):
            raise ShardUsageError(
                f"{out} lies in {folder}, among the images that are to be packed: choose another folder"
            )
    if _already_packed(source, out, samples_per_shard, on_corrupt):
        clear_left_over(out)
        return False
    with packing_folder(out) as folder:
        if _already_packed(source, out, samples_per_shard, on_corrupt):  # by another process, meanwhile
            folder.remove()
            return False
        folder.prepare(list(source.splits))
        packer = ShardPacker(source, folder, threads or os.cpu_count() or 1)
        left_out = packer.still_undecodable() if on_corrupt == "skip" else {}
        while True:
            shards, found = packer.pack(list(shard_contents(source.splits, left_out, samples_per_shard)))
            if not found:
                break
            if on_corrupt == "fail":
                raise _undecodable(source, found)
            for split, images in found.items():
                left_out.setdefault(split, {}).update(images)
                _check_left_out(split, left_out[split], source.splits[split])
        with writing(folder.shards):
            _manifest(source, samples_per_shard, folder, shards, left_out).write(folder.shards)
        folder.publish()
    return True


def _already_packed(source: Source, out: Path, samples_per_shard: int, on_corrupt: str) -> bool:
    if not holds_pack(out):
        return False
    held = read_manifest(out)
    wanted = (source.name, dict(source.options), samples_per_shard)
    if (held.dataset, held.options, held.samples_per_shard) != wanted:
        raise ShardUsageError(
            f"{out} already holds {_in_words(held.dataset, held.options, held.samples_per_shard)}, not "
            f"{_in_words(*wanted)}: choose another folder, or delete that one first"
        )
    if on_corrupt == "fail" and held.notes is not None and held.notes.left_out:
        raise ShardUsageError(
            f"{out} already holds this with {len(held.notes.left_out)} undecodable images left out: choose another "
            "folder, or delete that one first"
        )
    for split in held.splits:
        try:
            open_split(out, split)
        except ShardDamage as damage:
            raise ShardDamage(damage.shard, f"{damage.reason}; delete {out} and pack it again") from None
    return True


def _in_words(dataset: str, options: dict[str, int | str], samples_per_shard: int) -> str:
    values = {**options, "samples-per-shard": samples_per_shard}
    return f"{dataset} ({', '.join(f'{name} {value}' for name, value in values.items())})"


def _undecodable(source: Source, found: dict[str, dict[int, Undecodable]]) -> UndecodableImages:
    lines = sorted(f"{image.name}: {image.reason}" for images in found.values() for image in images.values())
    return UndecodableImages(source.name, lines, "mend or remove them, or leave them out with --on-corrupt skip")


def _check_left_out(split: str, left_out: dict[int, Undecodable], samples: int) -> None:
    most = max(LEFT_OUT_FEW, int(samples * LEFT_OUT_SHARE))
    if len(left_out) > most or len(left_out) == samples:
        first = min(left_out.values())
        raise ShardDamage(
            split,
            f"{len(left_out):,} of {samples:,} images cannot be decoded (the first: {first.name}: {first.reason}); "
            f"at most {min(most, samples - 1):,} may be left out: the source is damaged; nothing is published",
        )


def _manifest(
    source: Source,
    samples_per_shard: int,
    folder: PackingFolder,
    shards: dict[str, list[FinishedShard]],
    left_out: dict[str, dict[int, Undecodable]],
) -> Manifest:
    """Write the indexes, remove files that belong to no split, and return the manifest."""
    known = {folder.shards / split / shard.record.entry.name for split, parts in shards.items() for shard in parts}
    folder.keep_only(known)
    splits, changed = {}, Counter()
    for split, parts in shards.items():
        index = np.concatenate([shard.files.rows() for shard in parts])
        if left_out.get(split):
            _check_classes(source, split, index["label"])
        path = folder.shards / split / INDEX_NAME
        content = io.BytesIO()
        np.save(content, index, allow_pickle=False)
        write_durably(path, content.getvalue())
        splits[split] = SplitEntry(
            samples=len(index),
            index_sha256=hashlib.sha256(content.getvalue()).hexdigest(),
            shards=tuple(shard.record.entry for shard in parts),
        )
        for shard in parts:
            changed.update(shard.record.changed)
    missing = sorted(
        (split, image.name, image.reason) for split, images in left_out.items() for image in images.values()
    )
    notes = PackingNotes(
        changed=dict(sorted(changed.items())),
        left_out=tuple(LeftOut(split=split, name=name, reason=reason) for split, name, reason in missing),
    )
    return Manifest(
        format=FORMAT,
        dataset=source.name,
        classes=source.classes,
        options=dict(source.options),
        samples_per_shard=samples_per_shard,
        splits=splits,
        notes=notes if changed or missing else None,
    )


def _check_classes(source: Source, split: str, labels: np.ndarray) -> None:
    empty = np.flatnonzero(np.bincount(labels, minlength=len(source.classes)) == 0)
    if len(empty):
        raise ShardDamage(split, f"no image of class {source.classes[empty[0]]!r} can be decoded; nothing is published")
