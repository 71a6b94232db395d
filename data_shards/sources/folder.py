"""`folder`: any tree with a folder of images for each class, in folders for the splits or not."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from data_shards.errors import ShardUsageError
from data_shards.sources.file_names import composed
from data_shards.sources.folder_entries import class_folders, image_files
from data_shards.sources.image_file import Preparation
from data_shards.sources.image_files import ImageFiles
from data_shards.sources.listing import Listing
from data_shards.store.progress import listing_progress


def folder(src: Path, preparation: Preparation, seed: int = 0, test_share: float | None = None) -> ImageFiles:
    """A tree SRC/train/CLASS/FILE with SRC/test or SRC/val beside it, or a tree SRC/CLASS/FILE.

    Where there is a folder `val` and none `test`, `val` is the split `test`. Which images of a tree without splits are
    held out follows from their names: of each class those with the lowest SHA-256, at least one.

    Args:
        src: SRC.
        preparation: what becomes of a file.
        seed: of the order of the images.
        test_share: of a tree without splits, the share of each class that is held out as `test`.

    Raises:
        ShardUsageError: the tree has another form.
    """
    if (src / "train").is_dir():
        if test_share is not None:
            raise ShardUsageError(f"{src} has a train folder of its own: --test-share is for a tree without splits")
        return _split_tree(src, preparation, seed)
    if test_share is None:
        raise ShardUsageError(f"{src} has no train folder: hold some of it out as test with --test-share 0.1")
    if not 0 < test_share < 1:
        raise ShardUsageError(f"test share: {test_share} is not between 0 and 1")
    found = class_folders(src)
    classes = tuple(found)
    listings = {"train": Listing(src, classes), "test": Listing(src, classes)}
    for label, entry in listing_progress(list(enumerate(found.values()))):
        files = image_files(entry.path)
        if len(files) < 2:
            raise ShardUsageError(f"{entry.path}: a class needs at least two images to be split; it has {len(files)}")
        held_out = _held_out(entry.name, files, test_share)
        for file in files:
            listings["test" if file.name in held_out else "train"].add_file(file, label)
    return ImageFiles("folder", classes, listings, preparation, seed)


def _split_tree(src: Path, preparation: Preparation, seed: int) -> ImageFiles:
    others = [name for name in ("val", "test") if (src / name).is_dir()]
    if not others:
        raise ShardUsageError(f"{src} has a train folder, but neither test nor val beside it")
    names = {"train": "train", **{name: name for name in others}}
    if others == ["val"]:
        names = {"train": "train", "test": "val"}
    classes = tuple(class_folders(src / "train"))
    labels = {name: label for label, name in enumerate(classes)}
    listings = {}
    for split, name in names.items():
        listings[split] = Listing(src / name, classes)
        for class_name, entry in listing_progress(list(class_folders(src / name).items())):
            if class_name not in labels:
                raise ShardUsageError(f"{entry.path}: {_unknown(class_name, classes, src / 'train')}")
            for file in image_files(entry.path):
                listings[split].add_file(file, labels[class_name])
    return ImageFiles("folder", classes, listings, preparation, seed)


def _unknown(name: str, classes: tuple[str, ...], place: Path) -> str:
    for other in classes:
        if composed(other) == composed(name):
            return f"{name!a} looks like {other!a} in {place}, and is another name: rename one of them"
    return f"no class of that name in {place}"


def _held_out(class_name: str, files: list[os.DirEntry[str]], share: float) -> set[str]:
    by_hash = sorted(files, key=lambda file: hashlib.sha256(os.fsencode(f"{class_name}/{file.name}")).digest())
    count = min(max(round(len(files) * share), 1), len(files) - 1)
    return {file.name for file in by_hash[:count]}
