"""Damaged and foreign files: each is refused in one line that says what it is; nothing is run, and nothing written."""

from __future__ import annotations

import builtins
import gzip
import io
import json
import os
import pickle
import re
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from tests.pipeline.published import layouts
from tests.support.command_line import deps, refused

KEYS = layouts.mobilenet_v3(0.25, classes=5)
PROJECT = "blocks.7.conv.point_linear.conv.conv.weight"
VARIANCE = "blocks.7.conv.point_linear.bn.bn.running_var"


def good() -> OrderedDict[str, Tensor]:
    return layouts.filled(KEYS)


def saved(content: Any, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def changed(**changes: Any) -> bytes:
    """The good state with other tensors under some names; None leaves a name out."""
    state = good() | changes
    return saved({"state_dict": OrderedDict((name, each) for name, each in state.items() if each is not None)})


class Runs:
    """What runs a program where it is unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


TOUCH = Runs(os.system, "touch ran")
EVALUATE = Runs(eval, "open('ran', 'w')")


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as written:
        for name, content in members.items():
            written.writestr(name, content)
    return file.getvalue()


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


def claiming(zipped: bool) -> bytes:
    """A tensor of 300 numbers that says it has two billion."""
    content, few, many = saved({"state_dict": {"a": torch.zeros(300)}}, zipped), b"M\x2c\x01", b"J\x00\x00\x00\x7f"
    if not zipped:
        assert content.count(few) == 2
        return content.replace(few, many)
    members = unpacked(content)
    pickled = next(name for name in members if name.endswith("data.pkl"))
    return archive(members | {pickled: members[pickled].replace(few, many)})


def flipped(content: bytes) -> bytes:
    """Another bit in the middle of the weights."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as written:
        written.addfile(tarfile.TarInfo("state_dict"))
    return file.getvalue()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, weight=np.zeros(3))
    return file.getvalue()


def safetensors() -> bytes:
    return save(dict(good()))


def nested() -> bytes:
    return b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b"."


def torchvision(prefixes: list[str]) -> bytes:
    """The names of another library's network."""
    return saved(OrderedDict((f"{prefix}.weight", torch.zeros(8, 3, 3, 3)) for prefix in prefixes))


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "no checkpoint that torch wrote"),
    "a web page": (lambda: b"<!DOCTYPE html><html><body>404</body></html>", "no checkpoint that torch wrote"),
    "text": (lambda: b"see the other link\n" * 50, "no checkpoint that torch wrote"),
    "JSON": (lambda: json.dumps({"state_dict": {}}).encode(), "no checkpoint that torch wrote"),
    "safetensors": (safetensors, "no checkpoint that torch wrote"),
    "arrays of numpy's": (npz, "without a checkpoint of torch's"),
    "another archive": (lambda: archive({"weights.bin": b"0" * 99}), "without a checkpoint of torch's"),
    "a tar": (tar, "no checkpoint that torch wrote"),
    "compressed by gzip": (lambda: gzip.compress(saved(good())), "no checkpoint that torch wrote"),
    "a bit that flipped": (lambda: flipped(saved({"state_dict": good()})), "damaged archive .* not what its checksum"),
    "cut": (lambda: saved({"state_dict": good()})[:-2000], "damaged or cut archive"),
    "cut to its start": (lambda: saved({"state_dict": good()})[:3000], "damaged or cut archive"),
    "older and cut": (lambda: saved({"state_dict": good()}, zipped=False)[:-2000], "no checkpoint that torch wrote"),
    "older and cut to its start": (lambda: saved(good(), zipped=False)[:300], "no checkpoint that torch wrote"),
    "a plain pickle": (lambda: pickle.dumps({"state_dict": {}}, 4), "no checkpoint that torch wrote"),
    "a plain older pickle": (lambda: pickle.dumps({"state_dict": {}}, 2), "no checkpoint that torch wrote"),
    "a pickle that runs a program": (lambda: pickle.dumps(TOUCH, 2), r"system', which is not loaded"),
    "a checkpoint that runs a program": (lambda: saved({"state_dict": good(), "args": TOUCH}), "system', which is no"),
    "an older one that runs a program": (lambda: saved({"args": TOUCH}, zipped=False), r"system', which is not"),
    "one that evaluates": (lambda: saved({"state_dict": good(), "args": EVALUATE}), r"'eval', which is not loaded"),
    "a pickled module": (lambda: saved(nn.Linear(2, 2)), r"'torch.nn.modules.linear.Linear', which is not loaded"),
    "nested without end": (nested, "no checkpoint that torch wrote"),
    "claims more than it has": (lambda: claiming(zipped=True), "no checkpoint that torch wrote|more than there is"),
    "older and claims more than it has": (
        lambda: claiming(zipped=False),
        "no checkpoint that torch wrote|more than there is",
    ),
    "compressed inside": (
        lambda: archive(unpacked(saved({"state_dict": {"a": torch.zeros(1 << 20)}})), zipfile.ZIP_DEFLATED),
        "compressed archive",
    ),
    "a tensor": (lambda: saved(torch.zeros(3)), "holds a Tensor, not a state dict"),
    "a list": (lambda: saved([torch.zeros(3)]), "holds a list, not a state dict"),
    "nothing in it": (lambda: saved({}), "state_dict is empty"),
    "no state": (lambda: saved({"state_dict": None, "epoch": 3}), "state_dict is none"),
    "numbers for names": (lambda: saved({0: torch.zeros(3)}), "the key 0 is no name"),
    "figures for tensors": (lambda: saved({"epoch": 3, "loss": 0.5}), "'epoch' is no tensor but 3"),
    "a sparse tensor": (lambda: changed(**{PROJECT: torch.eye(8).to_sparse()}), f"'{PROJECT}' is no plain tensor"),
    "a tensor without values": (
        lambda: changed(**{PROJECT: torch.empty(8, 8, device="meta")}),
        f"'{PROJECT}' is no plain tensor",
    ),
    "torchvision's ResNet": (
        lambda: torchvision(["conv1", "layer1.0.conv1", "layer1.0.downsample.0"]),
        "of no network that is known here .*'conv1.weight'",
    ),
    "torchvision's MobileNetV3": (
        lambda: torchvision(["features.0.0", "features.1.block.0.0", "classifier.0"]),
        "of no network that is known here .*'features.0.0.weight'",
    ),
    "a key too few": (
        lambda: changed(**{PROJECT: None}),
        rf"lacks {PROJECT}: float32 \[\d+, \d+, 1, 1\] is expected",
    ),
    "keys too many": (
        lambda: changed(extra=torch.zeros(3), another=torch.zeros(3)),
        r"has 'extra', which has no place in it \(and 1 more\)",
    ),
    "a counter of nothing": (
        lambda: changed(**{"blocks.99.bn.num_batches_tracked": torch.tensor(3)}),
        "has 'blocks.99.bn.num_batches_tracked', which has no place in it",
    ),
    "a counter of no numbers": (
        lambda: changed(**{"first_conv.bn.num_batches_tracked": torch.zeros(3, dtype=torch.complex64)}),
        r"first_conv.bn.num_batches_tracked is complex64 \[3\]",
    ),
    "a counter without end": (
        lambda: changed(**{"first_conv.bn.num_batches_tracked": torch.zeros(1).expand(1 << 40)}),
        r"first_conv.bn.num_batches_tracked is float32 \[1099511627776\]",
    ),
    "weights without end": (
        lambda: changed(**{PROJECT: torch.zeros(1).expand(1 << 40)}),
        rf"{PROJECT} is float32 \[1099511627776\]: float32 .* is expected",
    ),
    "another shape": (
        lambda: changed(**{PROJECT: torch.zeros(8, 8, 3, 3)}),
        rf"{PROJECT} is float32 \[8, 8, 3, 3\]: float32 \[\d+, \d+, 1, 1\] is expected",
    ),
    "half precision": (lambda: changed(**{PROJECT: good()[PROJECT].half()}), rf"{PROJECT} is float16 .* is expected"),
    "no numbers": (lambda: changed(**{PROJECT: good()[PROJECT] * float("nan")}), f"{PROJECT} has values that are not"),
    "negative variances": (lambda: changed(**{VARIANCE: -good()[VARIANCE]}), f"{VARIANCE} has negative variances"),
    "a name twice": (
        lambda: changed(**{f"module.{PROJECT}": torch.zeros(3)}),
        "are spellings of one name",
    ),
    "some of the matrices": (
        lambda: changed(**{"blocks.7.conv.depth_conv.conv.5to3_matrix": None}),
        r"lacks blocks.7.conv.depth_conv.conv.5to3_matrix: float32 \[9, 9\] is expected",
    ),
    "too many classes": (
        lambda: changed(**{"classifier.linear.weight": torch.zeros(100_001, 320)}),
        "has no classifier: classifier.linear.weight for 1 to 100000 classes",
    ),
    "no classifier": (
        lambda: changed(**{"classifier.linear.weight": None, "classifier.linear.bias": None}),
        "has no classifier",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_foreign_or_damaged_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    make, reason = FILES[name]
    (tmp_path / "file.pth").write_bytes(make())
    line = refused(deps("import", "file.pth", "--output", "imported", cwd=tmp_path))
    assert line.startswith("deps: file.pth: ")
    assert re.search(reason, line), line
    assert len(line) <= 306
    assert [path.name for path in tmp_path.iterdir()] == ["file.pth"]  # neither run nor written


def test_the_programs_would_run_where_they_were_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for program in (TOUCH, EVALUATE):
        pickle.loads(pickle.dumps(program, 2))
        Path("ran").unlink()


def folder(path: Path) -> None:
    path.mkdir()


def loop(path: Path) -> None:
    path.symlink_to(path.name)


PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "not there": (lambda path: None, "cannot be read: No such file"),
    "a folder": (folder, r"net.config: cannot be read: No such file"),
    "a FIFO": (os.mkfifo, "cannot be read: is not a regular file"),
    "a link to itself": (loop, "cannot be read: Too many levels"),
}


@pytest.mark.parametrize("name", PLACES)
def test_what_is_no_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    make, reason = PLACES[name]
    make(tmp_path / "file.pth")
    assert re.search(reason, refused(deps("import", "file.pth", "--output", "imported", cwd=tmp_path)))
    assert not (tmp_path / "imported").exists()


OPTIONS = {
    "another network": (["--network", "proxyless"], "--network proxyless: is another one .* mobilenet_v3"),
    "another layout": (["--network", "resnet50"], "--network resnet50: is another one .* mobilenet_v3"),
    "another size": (["--network", "mobilenet_v3_digits"], "has|lacks|is expected"),
    "no network": (["--network", "resnet18"], "--network 'resnet18': legal values: auto, mobilenet_v3, "),
    "a resolution": (["--resolution", "160"], "--resolution: is for static networks"),
    "no average": (["--ema"], "has no state_dict_ema"),
    "output that is there": (["--output", "file.pth"], "--output file.pth: exists already"),
    "output in a file": (["--output", "file.pth/imported"], "--output file.pth/imported: cannot be written"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_what_does_not_fit_the_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    options, reason = OPTIONS[name]
    content = saved({"state_dict": good()})
    (tmp_path / "file.pth").write_bytes(content)
    assert re.search(reason, refused(deps("import", "file.pth", "--output", "imported", *options, cwd=tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["file.pth"]
    assert (tmp_path / "file.pth").read_bytes() == content


def test_no_class_is_built_but_plain_dictionaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every class that the file names is asked for by its name alone: nothing is imported for it."""
    imported: list[str] = []
    importing = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", lambda name, *rest: imported.append(name) or importing(name, *rest))
    members = unpacked(saved({"state_dict": good(), "args": {"a": 1}}))
    pickled = next(name for name in members if name.endswith("data.pkl"))
    # The value 1 becomes an object of a class that is not there.
    members[pickled] = members[pickled].replace(b"K\x01s", b"cutils.config\nConfig\n)\x81}b" + b"s", 1)
    (tmp_path / "file.pth").write_bytes(archive(members))
    done = deps("import", "file.pth", "--output", "imported", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "utils" not in {name.split(".")[0] for name in imported}
