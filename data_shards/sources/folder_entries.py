"""Lists folders of classes and of images, strictly: a file that would be left out silently is an error."""

from __future__ import annotations

import os
from pathlib import Path

from data_shards.errors import ShardUsageError
from data_shards.sources.file_names import as_text, composed, printable

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

_LITTER = {"thumbs.db", "desktop.ini"}  # left behind by file managers, as hidden files are


def entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, without hidden files.

    Raises:
        ShardUsageError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as found:
            visible = [entry for entry in found if entry.name[0] != "." and entry.name.lower() not in _LITTER]
    except OSError as error:
        raise ShardUsageError(f"{folder}: cannot be listed: {error.strerror}") from None
    return sorted(visible, key=lambda entry: as_text(entry.name))


def class_folders(folder: Path) -> dict[str, os.DirEntry[str]]:
    """The folders in a folder, one for each class, by name, in alphabetical order.

    Raises:
        ShardUsageError: there are no folders, or files among them, or a name is not fit for a class: it is not UTF-8,
            has control characters in it, or looks like another one.
    """
    found: dict[str, os.DirEntry[str]] = {}
    alike: dict[str, str] = {}
    for entry in entries(folder):
        name = as_text(entry.name)
        if not entry.is_dir():
            raise ShardUsageError(f"{entry.path} is a file, where a folder for each class should be")
        if printable(name) != name:
            raise ShardUsageError(
                f"{printable(as_text(entry.path))}: the name of a class has to be UTF-8, without control characters: "
                "rename the folder"
            )
        other = alike.setdefault(composed(name), name)
        if other != name:
            raise ShardUsageError(
                f"{folder}: {other!a} and {name!a} look the same ({name}), and are two folders: "
                "rename one of them, or put their images together"
            )
        found[name] = entry
    if not found:
        raise ShardUsageError(f"{folder}: no class folders in it")
    return found


def image_files(folder: Path | str) -> list[os.DirEntry[str]]:
    """The images in a folder.

    Raises:
        ShardUsageError: there is a folder among them, or a file that is no image by its name.
    """
    found = entries(folder)
    for entry in found:
        if entry.is_dir():
            raise ShardUsageError(f"{entry.path} is a folder, where only images should be")
        check_image_name(entry.name, entry.path)
    return found


def check_image_name(name: str, place: str) -> None:
    """Check that a file is an image by its name.

    Args:
        place: what messages call the file.

    Raises:
        ShardUsageError: it is not.
    """
    if not name.lower().endswith(IMAGE_SUFFIXES):
        raise ShardUsageError(f"{place} is no image by its name (these are: {', '.join(IMAGE_SUFFIXES)})")
