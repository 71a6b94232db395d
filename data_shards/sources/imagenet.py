"""`imagenet`: ILSVRC2012, as it is published (a tar with a tar for each synset) or unpacked; all classes or some."""

from __future__ import annotations

import re
from pathlib import Path

from data_shards.errors import ShardUsageError
from data_shards.sources.file_names import as_text
from data_shards.sources.folder_entries import check_image_name, class_folders, entries, image_files
from data_shards.sources.image_file import Preparation
from data_shards.sources.image_files import ImageFiles
from data_shards.sources.imagenet_labels import find_label_file, validation_labels
from data_shards.sources.listing import Listing
from data_shards.sources.tar_members import TarMember, tar_members
from data_shards.sources.text_lines import read_lines
from data_shards.store.progress import listing_progress

TRAIN_TAR, VALIDATION_TAR = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"

_SYNSET = re.compile(r"n[0-9]{8}")


def imagenet(
    src: Path,
    preparation: Preparation,
    seed: int = 0,
    classes_file: Path | None = None,
    labels_file: Path | None = None,
) -> ImageFiles:
    """The training images, and the validation images as the split `test`, from the folder `src`.

    Training images: `train/` with a folder for each synset, or ILSVRC2012_img_train.tar. Validation images: `val/` with
    a folder for each synset, or `val/` with all images, or ILSVRC2012_img_val.tar; the latter two need a label file
    (see `imagenet_labels`). Labels count the synsets in alphabetical order.

    Args:
        src: the folder.
        preparation: what becomes of a file.
        seed: of the order of the images.
        classes_file: the synsets to take, one in each line; all by default.
        labels_file: labels of the validation images; searched for in `src` by default.

    Raises:
        ShardUsageError: something is missing, or does not fit the rest.
        ShardDamage: a tar is cut.
    """
    train = _first_of(src, "train", TRAIN_TAR)
    validation = _first_of(src, "val", VALIDATION_TAR)
    found = _synsets(train)
    classes = tuple(sorted(found)) if classes_file is None else read_class_list(classes_file, set(found), train)
    labels = {synset: label for label, synset in enumerate(classes)}
    listings = {"train": Listing(train, classes), "test": Listing(validation, classes)}
    for synset, label in listing_progress(list(labels.items())):
        member = found[synset]
        if member is None:
            for file in image_files(train / synset):
                listings["train"].add_file(file, label)
        else:
            _add_synset_tar(listings["train"], train, member, label)
    _add_validation(listings["test"], src, validation, set(found), labels, labels_file)
    return ImageFiles("imagenet", classes, listings, preparation, seed)


def read_class_list(path: Path, known: set[str], place: Path) -> tuple[str, ...]:
    """The synsets that a file lists, in alphabetical order: the first word of each line that is not a # comment.

    Args:
        known: the synsets that there are.
        place: where they are, for messages.

    Raises:
        ShardUsageError: a synset is not known, or occurs twice, or none is listed.
    """
    chosen: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] not in known:
            raise ShardUsageError(
                f"{path}, line {number}: {words[0]!r} is no synset of {place}, which has {len(known)}"
            )
        if words[0] in chosen:
            raise ShardUsageError(f"{path}, line {number}: {words[0]} occurs twice, first in line {chosen[words[0]]}")
        chosen[words[0]] = number
    if not chosen:
        raise ShardUsageError(f"{path} lists no synset")
    return tuple(sorted(chosen))


def _first_of(src: Path, folder: str, tar: str) -> Path:
    for path, there in ((src / folder, Path.is_dir), (src / tar, Path.is_file)):
        if there(path):
            return path
    raise ShardUsageError(f"{src} holds neither a folder {folder} nor {tar}")


def _synsets(train: Path) -> dict[str, TarMember | None]:
    """The synsets, and the member of the tar that each one is; None where it is a folder."""
    if train.is_dir():
        return {_checked_synset(name, entry.path): None for name, entry in class_folders(train).items()}
    found: dict[str, TarMember | None] = {}
    for member in tar_members(train):
        name = member.name.rpartition("/")[2]
        synset = _checked_synset(name.removesuffix(".tar"), f"{train}: {member.name}")
        if synset in found:
            raise ShardUsageError(f"{train}: {member.name} occurs twice")
        found[synset] = member
    return found


def _checked_synset(name: str, place: str) -> str:
    if not _SYNSET.fullmatch(name):
        raise ShardUsageError(f"{place} is not named for a synset, as n01440764 is")
    return name


def _add_synset_tar(listing: Listing, train: Path, synset: TarMember, label: int) -> None:
    for member in tar_members(train, synset):
        check_image_name(member.name, f"{train}: {synset.name}/{member.name}")
        listing.add_member(member._replace(name=f"{synset.name}/{member.name.rpartition('/')[2]}"), label)


def _add_validation(
    listing: Listing,
    src: Path,
    validation: Path,
    known: set[str],
    labels: dict[str, int],
    labels_file: Path | None,
) -> None:
    """Add the validation images of the classes in `labels`."""
    in_folders = validation.is_dir() and any(entry.is_dir() for entry in entries(validation))
    if in_folders:
        if labels_file is not None:
            raise ShardUsageError(f"{validation} is in folders by synset: the label file {labels_file} is not needed")
        for synset, folder in class_folders(validation).items():
            if synset not in known:
                raise ShardUsageError(f"{folder.path}: no synset of that name among the training images")
            if synset in labels:
                for file in image_files(folder.path):
                    listing.add_file(file, labels[synset])
        return
    files = {as_text(file.name): file for file in image_files(validation)} if validation.is_dir() else {}
    members: dict[str, TarMember] = {}
    for member in () if validation.is_dir() else tar_members(validation):
        name = member.name.rpartition("/")[2]
        check_image_name(name, f"{validation}: {member.name}")
        if name in members:
            raise ShardUsageError(f"{validation}: {member.name} occurs twice")
        members[name] = member
    synsets = validation_labels(labels_file or find_label_file(src), sorted(files or members), known, src)
    for name, synset in synsets.items():
        if synset in labels and name in files:
            listing.add_file(files[name], labels[synset])
        elif synset in labels:
            listing.add_member(members[name], labels[synset])
