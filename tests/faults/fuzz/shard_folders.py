"""Shard folders whose files were changed by lot: damaged, or hostile and with checksums that fit."""

import hashlib
import io
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_shards.loading.loader import DataConfig, EvaluationLoader
from data_shards.packing.pack import pack
from data_shards.sources.digits100 import Digits100
from data_shards.store.index import open_split
from data_shards.store.manifest import INDEX_NAME, MANIFEST_NAME, read_manifest
from pipeline.console.exit_codes import one_line_errors
from tests.faults.fuzz.case import Case, command
from tests.support.damage import KINDS
from tests.support.forked import Ended, forked

NUMBERS = [0, 1, 2, 2**16 - 1, 2**31 - 1, 2**32 - 1, 30_000]
NAMES = [
    "/etc/passwd", "../test/index.npy", "x; touch touched; #.tar", "$(touch touched).tar", "`touch touched`.tar", "",
    ".", "-x.tar", "a\nb.tar", "\x1b[31m.tar", "x" * 300, "\u202e.tar", "con/../x.tar", "'x'.tar", "%2e%2e.tar",
]  # fmt: skip


def cases(lot: random.Random, folder: Path) -> Iterator[Case]:
    whole, root = folder / "whole", folder / "shards"
    pack(Digits100(train=12, test=4, seed=0), whole, samples_per_shard=5)
    shutil.copytree(whole, root)
    read_whole, verify_whole = forked(_reading(root), folder), forked(command("shards", "verify", root), folder)
    assert (read_whole.code, verify_whole.code) == (0, 0)
    while True:
        shutil.rmtree(root)
        shutil.copytree(whole, root)
        how = lot.choice([_damage, _other_file, _another_index_value, _another_index_value, _another_manifest_value])
        told = how(root, lot)
        changed = _contents(root) != _contents(whole)
        if lot.random() < 0.5:
            yield Case(f"{told}, then read", _reading(root), _equal(read_whole), refusable=changed)
        else:
            yield Case(f"{told}, then verify", command("shards", "verify", root), lambda _, c=changed: not c)


def _reading(root: Path):
    """A program that prints a digest of all that reading gives: pixels, labels and ids of each split."""

    def work() -> None:
        with one_line_errors("reading"):
            digest = hashlib.sha256()
            for name in read_manifest(root).splits:
                split = open_split(root, name)
                for batch in EvaluationLoader(split, DataConfig(shards=root, workers=0), 32, 4, 0, 1):
                    for part in batch:
                        digest.update(part.numpy().tobytes())
            print(digest.hexdigest())

    return work


def _equal(whole: Ended):
    return lambda ended: ended.stdout == whole.stdout


def _contents(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in root.rglob("*"):
        regular = path.is_file() and not path.is_symlink()
        found[str(path.relative_to(root))] = path.read_bytes() if regular else path.lstat().st_mode
    return found


def _any_file(root: Path, lot: random.Random) -> Path:
    return lot.choice(sorted(path for path in root.rglob("*") if path.is_file()))


def _damage(root: Path, lot: random.Random) -> str:
    path, kind = _any_file(root, lot), lot.choice(KINDS)
    path.write_bytes(kind(path.read_bytes(), lot))
    return f"{path.relative_to(root)}: {kind.__name__}"


def _other_file(root: Path, lot: random.Random) -> str:
    path, what = _any_file(root, lot), lot.choice(["gone", "fifo", "folder", "device", "empty"])
    path.unlink()
    if what == "fifo":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "empty":
        path.touch()
    return f"{path.relative_to(root)}: {what}"


def _another_index_value(root: Path, lot: random.Random) -> str:
    """An index that says something else of a sample, with the digests of index and manifest made to fit."""
    path = root / "train" / INDEX_NAME
    index = np.load(path)
    row, field = lot.randrange(len(index)), lot.choice(["offset", "size", "shard", "height", "width", "crc32"])
    number = lot.choice([*NUMBERS, *([2**63, 2**64 - 1] if field == "offset" else [])])
    index[field][row] = number
    content = io.BytesIO()
    np.save(content, index)
    path.write_bytes(content.getvalue())
    manifest = _manifest(root)
    manifest["splits"]["train"]["index_sha256"] = hashlib.sha256(content.getvalue()).hexdigest()
    _sign(root, manifest)
    return f"index: {field} of sample {row} is {number}"


def _another_manifest_value(root: Path, lot: random.Random) -> str:
    """A manifest that says something else, with its checksum made to fit."""
    manifest = _manifest(root)
    train = manifest["splits"]["train"]
    what = lot.choice(["shard name", "split name", "samples", "bytes", "classes", "format", "shards", "twice"])
    if what == "shard name":
        train["shards"][lot.randrange(3)]["name"] = lot.choice(NAMES)
    elif what == "split name":
        manifest["splits"][lot.choice(NAMES)] = train
    elif what in ("samples", "bytes"):
        lot.choice(train["shards"])[what] = lot.choice([-1, *NUMBERS, 2**70])
    elif what == "classes":
        manifest["classes"] = lot.choice([[], ["x"] * 3, ["\x1b[31m<script>"] * 100, "x"])
    elif what == "format":
        manifest["format"] = lot.choice([-1, 0, 1, 3, 2**70])
    elif what == "shards":
        train["shards"] = lot.choice([[], train["shards"][:1], train["shards"] * 2, train["shards"][::-1]])
    else:
        train["shards"][1]["name"] = train["shards"][0]["name"]
    _sign(root, manifest)
    return f"manifest: other {what}"


def _manifest(root: Path) -> dict:
    return json.loads((root / MANIFEST_NAME).read_text())


def _sign(root: Path, manifest: dict) -> None:
    manifest["checksum"] = "0" * 64
    content = (json.dumps(manifest, indent=1) + "\n").encode()
    checksum = hashlib.sha256(content).hexdigest().encode()
    (root / MANIFEST_NAME).write_bytes(content.replace(b"0" * 64, checksum, 1))
