"""Sources of data sets by lot: CIFAR's archives and pickles, ImageNet's tars, trees of images; and packing them."""

import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import simplejpeg

from tests.data_shards.sources.test_cifar import FOLDERS, Content
from tests.faults.fuzz.case import Case, command
from tests.support.damage import KINDS
from tests.support.forked import Ended

NAMES = [b"\xe9.jpg", b"a\nb.jpg", b"\x1b[31m.jpg", b"x" * 250 + b".jpg", "\u202e.jpg".encode(), b"-.jpg"]
LARGE_JPEG = {"30000 px": b"\x75\x30\x75\x30", "65535 px": b"\xff\xff\xff\xff", "0 px": bytes(4)}


def cases(lot: random.Random, folder: Path) -> Iterator[Case]:
    out = folder / "out"
    sources = [_cifar(name, form) for name, form in FOLDERS] + [_imagenet, _tree, _tree]
    while True:
        for leftover in (folder / "src", *folder.glob(".out*"), out):
            shutil.rmtree(leftover, ignore_errors=True)
        told, words, images = lot.choice(sources)(folder / "src", lot)
        yield Case(told, command("shards", "pack", *words, out, "--json", "--threads", 1), _all_packed(images))


def _all_packed(images: int) -> Callable[[Ended], bool]:
    """Whether the pack has all of the images that lay there; a changed pixel of a source nothing can tell."""

    def right(ended: Ended) -> bool:
        packed = json.loads(ended.stdout)
        return sum(packed["splits"].values()) + len(packed["left_out"]) == images

    return right


Source = Callable[[Path, random.Random], tuple[str, list[object], int]]


def _cifar(name: str, form: str) -> Source:
    def write(src: Path, lot: random.Random) -> tuple[str, list[object], int]:
        content = Content(name, per_batch=4)
        files = content.files(form)
        images = sum(len(labels) for batches in content.batches.values() for _, labels in batches)
        told = f"{name} ({form})"
        if lot.random() < 0.7:  # what the archive's own checksum tells nothing of
            file, kind = lot.choice(sorted(files)), lot.choice(KINDS)
            if len(files[file]) > 300:
                files[file] = kind(files[file], lot)
                told += f", {file}: {kind.__name__}"
        src.mkdir()
        path = src / f"{FOLDERS[name, form].replace('batches-py', 'python').replace('batches-bin', 'binary')}.tar.gz"
        with tarfile.open(path, "w:gz", compresslevel=1) as tar:
            for file, payload in files.items():
                member = tarfile.TarInfo(f"{FOLDERS[name, form]}/{file}")
                member.size = len(payload)
                tar.addfile(member, io.BytesIO(payload))
        if told.endswith(")"):
            kind = lot.choice(KINDS)
            path.write_bytes(kind(path.read_bytes(), lot))
            told += f", archive: {kind.__name__}"
        return told, [name, path], images

    return write


def _imagenet(src: Path, lot: random.Random) -> tuple[str, list[object], int]:
    synsets = ["n01440764", "n01443537"]
    src.mkdir()
    with tarfile.open(src / "ILSVRC2012_img_train.tar", "w") as outer:
        for synset in synsets:
            inner = _tar({f"{synset}_{number}.JPEG": _jpeg(number) for number in range(4)})
            outer.addfile(_member(f"{synset}.tar", inner), io.BytesIO(inner))
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, 5)]
    (src / "ILSVRC2012_img_val.tar").write_bytes(_tar({name: _jpeg(9) for name in names}))
    labels = [f"{name} {synsets[number % 2]}" for number, name in enumerate(names)]
    (src / "labels.txt").write_text("\n".join(labels) + "\n")
    path, kind = lot.choice(sorted(src.iterdir())), lot.choice(KINDS)
    content = path.read_bytes()
    path.write_bytes(kind(content, lot) if len(content) > 300 else content[: lot.randrange(len(content))])
    skip = ["--on-corrupt", "skip"] if lot.random() < 0.3 else []
    words = ["imagenet", *skip, "--val-labels", src / "labels.txt", src]
    return f"imagenet, {path.name}: {kind.__name__}", words, 12


def _tree(src: Path, lot: random.Random) -> tuple[str, list[object], int]:
    """Class folders, with one thing in them that is unusual."""
    images = 0
    for split in ("train", "test"):
        for label in ("a", "b"):
            (src / split / label).mkdir(parents=True)
            for number in range(3):
                (src / split / label / f"{number}.jpg").write_bytes(_jpeg(number))
                images += 1
    victim = lot.choice(sorted(src.rglob("*.jpg")))
    what = lot.choice(["bytes", "bytes", "header", "name", "folder name", "fifo", "device", "loop", "empty"])
    if what == "bytes":
        kind = lot.choice(KINDS)
        victim.write_bytes(kind(victim.read_bytes(), lot))
        what = kind.__name__
    elif what == "header":
        what, size = lot.choice(sorted(LARGE_JPEG.items()))
        content = victim.read_bytes()
        place = content.index(b"\xff\xc0") + 5
        victim.write_bytes(content[:place] + size + content[place + 4 :])
    elif what == "name":
        name = lot.choice(NAMES)
        os.rename(victim, os.path.join(os.fsencode(victim.parent), name))
        what = f"named {name!r}"
    elif what == "folder name":
        name = lot.choice([b"caf\xe9", b"a\nb", b"<script>", b"-x", b"x" * 255, b" "])
        for split in ("train", "test"):
            os.rename(src / split / "a", os.path.join(os.fsencode(src / split), name))
        what = f"class named {name!r}"
    elif what == "empty":
        victim.write_bytes(b"")
    else:
        victim.unlink()
        images -= 1
        if what == "fifo":
            os.mkfifo(victim)
        elif what == "device":
            victim.symlink_to("/dev/zero")
        else:
            victim.symlink_to(victim.name)
    skip = ["--on-corrupt", "skip"] if lot.random() < 0.3 else []
    return f"folder, {what}", ["folder", *skip, src], images


def _jpeg(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    return simplejpeg.encode_jpeg(pixels, quality=90)


def _tar(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, payload in files.items():
            tar.addfile(_member(name, payload), io.BytesIO(payload))
    return content.getvalue()


def _member(name: str, payload: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = len(payload)
    return member
