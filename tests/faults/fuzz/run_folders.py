"""A finished run's folder, one file of it damaged by lot, and the commands that read it."""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from data_shards.packing.pack import pack
from data_shards.sources.digits import Digits
from tests.faults.fuzz.case import Case, command
from tests.support.damage import KINDS
from tests.support.forked import Ended, forked
from tests.support.processes import small_run

JSON_TEXTS = [
    "", "null", "[]", "{}", "5", "[" * 100_000, '{"a": ' * 20_000 + "1" + "}" * 20_000, "9" * 5000, '"\\ud800"', "NaN",
    '{"step": 1, "step": 2}', "\ufeff{}", '{"step": 1e400}',
]  # fmt: skip


class Runs:
    """A finished run, and copies of it at one place."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.shards = folder, folder / "digits"
        pack(Digits(), self.shards)
        self.arguments = [
            *small_run(self.shards, folder / "runs"), "engine={name: single}", "data.workers=0", "name=run",
        ]  # fmt: skip
        self.run, self.whole = folder / "runs" / "run", folder / "whole"
        for words in (["train", *self.arguments], ["evaluate", self.run, "--json"], ["report", self.run]):
            ended = forked(command(*words), folder)
            assert ended.code == 0, ended.stderr
        shutil.rmtree(self.run / "report")
        shutil.copytree(self.run, self.whole)
        self.output = folder / "output"
        self.said = {name: self._said(words) for name, words in self.commands().items() if name != "resume"}

    def commands(self) -> dict[str, list[object]]:
        return {
            "status": ["status", self.run, "--json"],
            "report": ["report", self.run, "--output", self.output, "--json"],
            "weights": ["weights", self.run, "--output", self.output],
            "evaluate": ["evaluate", self.run, "--json"],
            "resume": ["train", *self.arguments, "--resume"],
        }

    def renew(self) -> None:
        """The run as it was, at its place."""
        shutil.rmtree(self.output, ignore_errors=True)
        shutil.rmtree(self.run)
        shutil.copytree(self.whole, self.run)

    def files(self) -> list[Path]:
        return sorted(path for path in self.run.rglob("*") if path.is_file())

    def right(self, name: str) -> Callable[[Ended], bool]:
        """Whether the command gave what it gives of the whole run."""

        def right(ended: Ended) -> bool:
            if name == "status" and '"stopped"' in ended.stdout:
                return True  # as a run is whose weights are not there
            if name == "resume":
                return _same_weights(self.run, self.whole)
            if name == "weights" and not _same_weights(self.output, self.whole):
                return False
            return ended.stdout == self.said[name]

        return right

    def _said(self, words: list[object]) -> str:
        self.renew()
        ended = forked(command(*words), self.folder)
        assert ended.code == 0, ended.stderr
        return ended.stdout


def cases(lot: random.Random, folder: Path) -> Iterator[Case]:
    runs = Runs(folder)
    names = ["status"] * 5 + ["report"] * 5 + ["weights"] * 6 + ["evaluate"] * 2 + ["resume"] * 2
    while True:
        runs.renew()
        path = lot.choice(runs.files())
        how = _damage(path, lot)
        name = lot.choice(names)
        told = f"{path.relative_to(runs.run)}: {how}, then {name}"
        yield Case(told, command(*runs.commands()[name]), runs.right(name))


def _damage(path: Path, lot: random.Random) -> str:
    """Damage the file at `path`; how."""
    content = path.read_bytes()
    how = lot.choice(["bytes"] * 4 + ["text", "value", "gone", "fifo", "folder", "device", "zeroed"])
    if how in ("gone", "fifo", "folder", "device"):
        path.unlink()
    if how == "fifo":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "device":
        path.symlink_to("/dev/zero")
    elif how == "zeroed":
        path.write_bytes(bytes(len(content)))
    elif how == "text":
        text = lot.choice(JSON_TEXTS)
        path.write_text(text)
        how = f"text {text[:20]!r}"
    elif how == "value" and path.suffix == ".json":
        path.write_text(json.dumps(_with_another_value(json.loads(content), lot)))
    elif how != "gone":
        kind = lot.choice(KINDS)
        path.write_bytes(kind(content, lot) if len(content) > 300 else lot.randbytes(len(content) + 1))
        how = kind.__name__
    return how


def _with_another_value(content, lot: random.Random):
    """JSON content with one of its values changed, at any depth."""
    if isinstance(content, dict) and content:
        key = lot.choice(list(content))
        return {**content, key: _with_another_value(content[key], lot)}
    if isinstance(content, list) and content:
        at = lot.randrange(len(content))
        return [*content[:at], _with_another_value(content[at], lot), *content[at + 1 :]]
    others = [None, -1, 0, 2**70, 1e300, "", "\x1b[31m<b>", [], {}, True, "x" * 10_000]
    return lot.choice([other for other in others if other != content])


def _same_weights(folder: Path, whole: Path) -> bool:
    ours, theirs = (load_file(each / "supernet.safetensors") for each in (folder, whole))
    return ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in theirs)
