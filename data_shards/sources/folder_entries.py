"""What lies in a folder, told apart strictly: a file that would silently be left out is an error."""

from __future__ import annotations

import os
from pathlib import Path

from data_shards.errors import ShardUsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

_LITTER = {"thumbs.db", "desktop.ini"}  # which file managers leave behind, as they do hidden files


def entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name, without hidden files. Raises ShardUsageError where it cannot be listed."""
    try:
        with os.scandir(folder) as found:
            visible = [entry for entry in found if entry.name[0] != "." and entry.name.lower() not in _LITTER]
    except OSError as error:
        raise ShardUsageError(f"{folder}: cannot be listed: {error.strerror}") from None
    return sorted(visible, key=lambda entry: entry.name)


def class_folders(folder: Path) -> list[os.DirEntry[str]]:
    """The folders in a folder, one for each class. Raises ShardUsageError where there are none, or files among them."""
    found = entries(folder)
    for entry in found:
        if not entry.is_dir():
            raise ShardUsageError(f"{entry.path} is a file, where a folder for each class should be")
    if not found:
        raise ShardUsageError(f"{folder}: no class folders in it")
    return found


def image_files(folder: Path | str) -> list[os.DirEntry[str]]:
    """The images in a folder. Raises ShardUsageError for a folder in it, and a file that is no image by its name."""
    found = entries(folder)
    for entry in found:
        if entry.is_dir():
            raise ShardUsageError(f"{entry.path} is a folder, where only images should be")
        check_image_name(entry.name, entry.path)
    return found


def check_image_name(name: str, place: str) -> None:
    """Raises ShardUsageError for a name that is not that of an image."""
    if not name.lower().endswith(IMAGE_SUFFIXES):
        raise ShardUsageError(f"{place} is no image by its name (these are: {', '.join(IMAGE_SUFFIXES)})")
