"""Reads the CIFAR archives as they are published: which files there are, and how images and labels lie in them."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.sources.restricted_pickle import load_arrays

_PIXELS = 3 * 32 * 32


class CifarImages(NamedTuple):
    """`pixels`: uint8 [B, 3072], all red, then all green, then all blue ones, row by row. `labels`: int64 [B]."""

    pixels: np.ndarray
    labels: np.ndarray


class _Form(NamedTuple):
    """One of the published archives.

    `folder`: that it unpacks to. `splits`: files by split. `meta`: the file that names the classes. `labels`: what the
    labels are called in a pickle, or where they stand in a binary record, of `label_bytes` before the pixels.
    """

    archive: str
    folder: str
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
            {"train": _BATCHES, "test": ("test_batch",)},
            "batches.meta",
            names_key=b"label_names",
            labels_key=b"labels",
        ),
        _Form(
            "cifar-10-binary.tar.gz",
            "cifar-10-batches-bin",
            {"train": tuple(f"{batch}.bin" for batch in _BATCHES), "test": ("test_batch.bin",)},
            "batches.meta.txt",
            label_bytes=1,
        ),
    ),
    "cifar100": (
        _Form(
            "cifar-100-python.tar.gz",
            "cifar-100-python",
            {"train": ("train",), "test": ("test",)},
            "meta",
            names_key=b"fine_label_names",
            labels_key=b"fine_labels",
        ),
        _Form(
            "cifar-100-binary.tar.gz",
            "cifar-100-binary",
            {"train": ("train.bin",), "test": ("test.bin",)},
            "fine_label_names.txt",
            label_bytes=2,  # the coarse label, then the fine one
        ),
    ),
}


def read_cifar(name: str, src: Path) -> tuple[tuple[str, ...], dict[str, CifarImages]]:
    """The class names and the images of both splits, of `cifar10` or `cifar100` at `src`.

    Raises ShardUsageError where there is none, or a file is missing; ShardDamage where one is damaged.
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
    """Which form lies at `src`, where exactly, and the bytes of its files by name."""
    if src.is_file():
        files = _archive_files(src)
        for form in forms:
            if form.meta in files:
                return form, src, files
        raise ShardUsageError(f"{src} is not {' or '.join(form.archive for form in forms)}")
    for form in forms:
        for folder in (src, src / form.folder):
            if (folder / form.meta).is_file() and (folder / form.splits["test"][0]).is_file():
                return form, folder, _folder_files(folder, form)
    for form in forms:
        if (src / form.archive).is_file():
            return form, src / form.archive, _archive_files(src / form.archive)
    wanted = " or ".join(form.archive for form in forms)
    raise ShardUsageError(f"{src} is not {wanted}, nor a folder with one, nor what it unpacks to")


def _archive_files(path: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(path) as tar:
            files = {}
            for member in tar:
                file = tar.extractfile(member)
                if file is not None:
                    files[member.name.rpartition("/")[2]] = file.read()
            return files
    except (OSError, EOFError, tarfile.TarError) as error:
        raise ShardDamage(path, f"cannot be read as an archive: {error}") from None
    except Exception as error:  # a damaged compressed stream fails in ways of its own
        raise ShardDamage(path, f"cannot be unpacked: {error}") from None


def _folder_files(folder: Path, form: _Form) -> dict[str, bytes]:
    files = {}
    for name in form.files:
        try:
            files[name] = (folder / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise ShardUsageError(f"{folder / name}: cannot be read: {error.strerror}") from None
    return files


def _class_names(form: _Form, meta: bytes, place: str) -> tuple[str, ...]:
    try:
        names = load_arrays(meta)[form.names_key] if form.names_key else meta.split()
        return tuple(name.decode() if isinstance(name, bytes) else str(name) for name in names)
    except (ValueError, TypeError, KeyError) as error:
        raise ShardDamage(place, f"does not name the classes: {error}") from None


def _batch(form: _Form, file: bytes, place: str, classes: int) -> CifarImages:
    batch = _unpickled(form, file, place) if form.labels_key else _records(form, file, place)
    if len(batch.labels) and not 0 <= batch.labels.min() <= batch.labels.max() < classes:
        wrong = int(np.flatnonzero((batch.labels < 0) | (batch.labels >= classes))[0])
        raise ShardDamage(place, f"the label {batch.labels[wrong]} of image {wrong} is not one of 0 … {classes - 1}")
    return batch


def _unpickled(form: _Form, file: bytes, place: str) -> CifarImages:
    try:
        batch = load_arrays(file)
        pixels, labels = batch[b"data"], np.asarray(batch[form.labels_key], np.int64)
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise ShardDamage(place, f"is not a batch of CIFAR images: {error}") from None
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (_PIXELS,):
        raise ShardDamage(place, f"its data is not an array of {_PIXELS} bytes for each image")
    if labels.shape != (len(pixels),):
        raise ShardDamage(place, f"has {len(pixels)} images and {labels.size} labels")
    return CifarImages(pixels, labels)


def _records(form: _Form, file: bytes, place: str) -> CifarImages:
    size = form.label_bytes + _PIXELS
    if len(file) % size:
        raise ShardDamage(place, f"has {len(file)} bytes, which is no multiple of a record's {size}: it is cut")
    records = np.frombuffer(file, np.uint8).reshape(-1, size)
    return CifarImages(records[:, form.label_bytes :], records[:, form.label_bytes - 1].astype(np.int64))
