"""The formats of the published CIFAR archives: which files there are, and where images and labels are in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.sources.cifar_files import archive_files, folder_files
from data_shards.sources.restricted_pickle import load_arrays

_PIXELS = 3 * 32 * 32
_LONGEST_NAME = 100  # of a class


class CifarImages(NamedTuple):
    """Images and their labels.

    Attributes:
        pixels: uint8 [B, 3072], first all red values, then all green ones, then all blue ones, each row by row.
        labels: int64 [B].
    """

    pixels: np.ndarray
    labels: np.ndarray


class _Form(NamedTuple):
    """One of the published archives.

    Attributes:
        folder: that it unpacks to.
        classes: how many.
        splits: files by split.
        meta: the file that names the classes.
        names_key, labels_key: keys of the class names and the labels in the pickles of a python archive.
        label_bytes: number of bytes before the pixels in a record of a binary archive; the last one is the label.
    """

    archive: str
    folder: str
    classes: int
    splits: dict[str, tuple[str, ...]]
    meta: str
    names_key: bytes = b""
    labels_key: bytes = b""
    label_bytes: int = 0

    @property
    def files(self) -> tuple[str, ...]:
        return (self.meta, *(file for files in self.splits.values() for file in files))


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
_FORMS = {
    "cifar10": (
        _Form(
            "cifar-10-python.tar.gz",
            "cifar-10-batches-py",
            10,
            {"train": _BATCHES, "test": ("test_batch",)},
            "batches.meta",
            names_key=b"label_names",
            labels_key=b"labels",
        ),
        _Form(
            "cifar-10-binary.tar.gz",
            "cifar-10-batches-bin",
            10,
            {"train": tuple(f"{batch}.bin" for batch in _BATCHES), "test": ("test_batch.bin",)},
            "batches.meta.txt",
            label_bytes=1,
        ),
    ),
    "cifar100": (
        _Form(
            "cifar-100-python.tar.gz",
            "cifar-100-python",
            100,
            {"train": ("train",), "test": ("test",)},
            "meta",
            names_key=b"fine_label_names",
            labels_key=b"fine_labels",
        ),
        _Form(
            "cifar-100-binary.tar.gz",
            "cifar-100-binary",
            100,
            {"train": ("train.bin",), "test": ("test.bin",)},
            "fine_label_names.txt",
            label_bytes=2,  # the coarse label, then the fine one
        ),
    ),
}


def read_cifar(name: str, src: Path) -> tuple[tuple[str, ...], dict[str, CifarImages]]:
    """Read a CIFAR archive.

    Args:
        name: `cifar10` or `cifar100`.
        src: the archive, the folder that it unpacks to, or a folder that holds either.

    Returns:
        The class names, and the images by split.

    Raises:
        ShardUsageError: there is no archive, or it lacks a file.
        ShardDamage: a file is damaged.
    """
    form, place, files = _find(_FORMS[name], src)
    for file in form.files:
        if file not in files:
            raise ShardUsageError(f"{place}: no {file}, which {form.archive} has")
    classes = _class_names(form, files[form.meta], f"{place}/{form.meta}")
    splits = {}
    for split, names in form.splits.items():
        batches = [_batch(form, files[file], f"{place}/{file}", len(classes)) for file in names]
        for file, batch in zip(names, batches, strict=True):
            if len(batch.labels) != len(batches[0].labels):
                raise ShardDamage(
                    f"{place}/{file}", f"has {len(batch.labels)} images; {names[0]} has {len(batches[0].labels)}"
                )
        splits[split] = CifarImages(*(np.concatenate(column) for column in zip(*batches, strict=True)))
    return classes, splits


def _find(forms: tuple[_Form, ...], src: Path) -> tuple[_Form, Path, Mapping[str, bytes]]:
    """Which of the archives is at `src`, where exactly, and the bytes of its files by name."""
    if src.is_file():
        files = archive_files(src, {file for form in forms for file in form.files})
        for form in forms:
            if form.meta in files:
                return form, src, files
        raise ShardUsageError(f"{src} is not {' or '.join(form.archive for form in forms)}")
    for form in forms:
        for folder in (src, src / form.folder):
            if (folder / form.meta).is_file() and (folder / form.splits["test"][0]).is_file():
                return form, folder, folder_files(folder, form.files)
    for form in forms:
        if (src / form.archive).is_file():
            return form, src / form.archive, archive_files(src / form.archive, form.files)
    wanted = " or ".join(form.archive for form in forms)
    raise ShardUsageError(f"{src} is not {wanted}, nor a folder with one, nor what it unpacks to")


def _class_names(form: _Form, meta: bytes, place: str) -> tuple[str, ...]:
    try:
        listed = load_arrays(meta)[form.names_key] if form.names_key else meta.split(None, form.classes)
        if type(listed) is not list or any(type(name) not in (bytes, str) for name in listed):
            raise ValueError("it lists something else than names")
        if len(listed) != form.classes:
            raise ValueError(f"it lists {len(listed)} of {form.classes}")
        names = tuple(name.decode() if isinstance(name, bytes) else name for name in listed)
        if any(not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME for name in names):
            raise ValueError(f"a name is not of 1 … {_LONGEST_NAME} printable characters")
        if len(set(names)) < len(names):
            raise ValueError("two names are the same")
        return names
    except (ValueError, KeyError) as error:
        raise ShardDamage(place, f"does not name the classes: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def _batch(form: _Form, file: bytes, place: str, classes: int) -> CifarImages:
    batch = _unpickled(form, file, place) if form.labels_key else _records(form, file, place)
    if len(batch.labels) and not 0 <= batch.labels.min() <= batch.labels.max() < classes:
        wrong = int(np.flatnonzero((batch.labels < 0) | (batch.labels >= classes))[0])
        raise ShardDamage(place, f"the label {batch.labels[wrong]} of image {wrong} is not one of 0 … {classes - 1}")
    return batch


def _unpickled(form: _Form, file: bytes, place: str) -> CifarImages:
    try:
        batch = load_arrays(file)
        pixels, labels = batch[b"data"], _integers(batch[form.labels_key])
    except (ValueError, KeyError) as error:
        raise ShardDamage(place, f"is not a batch of CIFAR images: {_reason(error)}") from None
    if not isinstance(pixels, np.ndarray) or pixels.shape[1:] != (_PIXELS,):
        raise ShardDamage(place, f"its data is not an array of {_PIXELS} bytes for each image")
    if labels.shape != (len(pixels),):
        raise ShardDamage(place, f"has {len(pixels)} images and {labels.size} labels")
    return CifarImages(pixels, labels)


def _integers(labels: object) -> np.ndarray:
    if type(labels) is not list or any(type(label) is not int for label in labels):
        raise ValueError("its labels are no list of integers")
    return np.array(labels, np.int64)


def _records(form: _Form, file: bytes, place: str) -> CifarImages:
    size = form.label_bytes + _PIXELS
    if len(file) % size:
        raise ShardDamage(place, f"has {len(file)} bytes, which is no multiple of a record's {size}: it is cut")
    records = np.frombuffer(file, np.uint8).reshape(-1, size)
    return CifarImages(records[:, form.label_bytes :], records[:, form.label_bytes - 1].astype(np.int64))
