"""`deps shards pack`: what it prints, and what it refuses in one line."""

import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from data_shards.cli import app
from data_shards.errors import ShardUsageError, UndecodableImages
from data_shards.store.index import open_split
from data_shards.store.manifest import read_manifest


def run(*arguments):
    return CliRunner().invoke(app, ["pack", *map(str, arguments)])


def deps(*arguments, **options):
    """Runs the command as a user does."""
    program = "import deps_command; deps_command.main()"
    command = [sys.executable, "-c", program, "shards", "pack", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.fixture
def src(tmp_path, photo_file, write_tree):
    """Two classes, of six images each."""
    return write_tree(
        tmp_path / "src", {f"{name}/{image}.jpg": photo_file(image) for name in ("cat", "dog") for image in range(6)}
    )


@pytest.fixture
def cifar10(tmp_path, write_tree):
    batch = {b"data": np.zeros((10, 3072), np.uint8), b"labels": list(range(10))}
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    meta = {b"label_names": [f"class{label}".encode() for label in range(10)]}
    files = {**dict.fromkeys(names, pickle.dumps(batch, 2)), "batches.meta": pickle.dumps(meta, 2)}
    return write_tree(tmp_path / "cifar-10-batches-py", files)


def test_a_tree_is_packed_and_told(src, tmp_path):
    out = tmp_path / "out"
    arguments = ("folder", src, out, "--test-share", 0.3, "--short-side", 16, "--quality", 80, "--seed", 3)
    first, again = run(*arguments), run(*arguments)
    assert (first.exit_code, again.exit_code) == (0, 0)
    assert first.stdout.splitlines() == [f"{out}: 8 train, 4 test images in 2 classes", "12 images: resized"]
    assert again.stdout.splitlines()[0].endswith(", already there")
    options = read_manifest(out).options
    assert {name: options[name] for name in ("short-side", "quality", "seed")} == {
        "short-side": 16,
        "quality": 80,
        "seed": 3,
    }


def test_json_tells_the_same_in_numbers(src, tmp_path):
    (src / "cat" / "0.jpg").write_bytes(b"no image")
    arguments = ("folder", src, tmp_path / "out", "--test-share", 0.3, "--json")
    refused = run(*arguments)
    assert isinstance(refused.exception, UndecodableImages)
    told = json.loads(refused.stdout)
    assert (told["packed"], len(told["undecodable"])) == (False, 1)
    assert told["undecodable"][0].startswith(f"{src}/cat/0.jpg: ")
    packed = json.loads(run(*arguments, "--on-corrupt", "skip").stdout)
    assert packed["packed"] is True
    assert (sum(packed["splits"].values()), packed["classes"], packed["changed"]) == (11, 2, {})
    (left_out,) = packed["left_out"]
    assert left_out["name"] == f"{src}/cat/0.jpg"
    assert packed["bytes"] == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.tar"))
    assert json.loads(run(*arguments, "--on-corrupt", "skip").stdout) == {**packed, "packed": False}


def test_undecodable_images_are_told_line_by_line_and_in_the_exit_code(src, tmp_path):
    for name in ("cat/0.jpg", "dog/5.jpg"):
        (src / name).write_bytes((src / name).read_bytes()[:-40])
    refused = deps("folder", src, tmp_path / "out", "--test-share", "0.3")
    assert refused.returncode == 1
    lines = refused.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"{src}/cat/0.jpg", f"{src}/dog/5.jpg", "deps"]
    assert "2 images cannot be decoded" in lines[-1]
    assert os.listdir(tmp_path / "out") == [".packing"]
    skipped = deps("folder", src, tmp_path / "out", "--test-share", "0.3", "--on-corrupt", "skip")
    assert (skipped.returncode, skipped.stderr) == (0, "")
    assert "2 images left out as undecodable:" in skipped.stdout
    assert f"  {src}/dog/5.jpg: Premature end of JPEG file" in skipped.stdout


def test_cifar_is_packed_and_told(cifar10, tmp_path):
    result = run("cifar10", cifar10, tmp_path / "out", "--samples-per-shard", 20)
    assert result.stdout.strip() == f"{tmp_path / 'out'}: 50 train, 10 test images in 10 classes"
    assert open_split(tmp_path / "out", "test").classes[3] == "class3"


def test_imagenet_is_packed_by_a_class_list(tmp_path, photo_file, write_tree):
    synsets = ("n00000001", "n00000002")
    src = write_tree(
        tmp_path / "src",
        {f"{split}/{synset}/{split}_{image}.JPEG": photo_file(image)
         for split in ("train", "val") for synset in synsets for image in range(3)},
    )  # fmt: skip
    (tmp_path / "list.txt").write_text("n00000002\n")
    result = run("imagenet", src, tmp_path / "out", "--classes", tmp_path / "list.txt", "--threads", 1)
    assert result.stdout.strip() == f"{tmp_path / 'out'}: 3 train, 3 test images in 1 classes"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("folder", "nowhere", "out"), "nowhere has no train folder"),
        (("folder", "nowhere", "out", "--test-share", 0.1), "nowhere: cannot be listed: No such file"),
        (("imagenet", "nowhere", "out"), "nowhere holds neither a folder train nor ILSVRC2012_img_train.tar"),
        (("cifar10", "nowhere", "out"), "nowhere is not cifar-10-python.tar.gz or cifar-10-binary.tar.gz"),
        (("cifar100", ".", "out"), "nor what it unpacks to"),
    ],
)
def test_a_user_error_is_one_line_and_leaves_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert isinstance(result.exception, ShardUsageError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_an_option_of_another_data_set_is_refused(cifar10, tmp_path):
    done = deps("cifar10", cifar10, tmp_path / "out", "--short-side", "16")
    assert done.returncode == 2
    assert "No such option: --short-side" in done.stderr
    assert not (tmp_path / "out").exists()


# Before the program: reading pauses at the sixth image.
PAUSING = """
import signal, threading
from data_shards.sources.listing import Listing
told = threading.Event()
def interrupted(*given):
    told.set()
    signal.default_int_handler(*given)
signal.signal(signal.SIGINT, interrupted)  # which may be ignored here, and so there, where tests run in the background
read, count = Listing.read, iter(range(1000))
def pausing(self, position):
    if next(count) == 5:
        print("paused", flush=True)
        told.wait()
        threading.Event().wait(1)  # for the main thread to hear of it
    return read(self, position)
Listing.read = pausing
"""


def test_an_interrupted_packing_ends_soon_and_goes_on_later(src, tmp_path):
    arguments = ["folder", str(src), str(tmp_path / "out"), "--test-share", "0.5", "--samples-per-shard", "1"]
    program = PAUSING + "import deps_command; deps_command.main()"
    command = [sys.executable, "-c", program, "shards", "pack", *arguments, "--threads", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "paused\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=900)
    assert (process.returncode, errors) == (130, "")
    assert os.listdir(tmp_path / "out") == [".packing"]
    finished = {path.name: path.stat().st_ino for path in (tmp_path / "out" / ".packing").rglob("*.tar")}
    assert len(finished) == 5
    assert run(*arguments).exit_code == 0
    published = {path.name: path.stat().st_ino for path in (tmp_path / "out").rglob("*.tar")}
    assert len(published) == 12
    assert finished.items() <= published.items(), "the very files that were finished"


@pytest.mark.parametrize("dataset", ["digits", "digits100", "cifar10", "cifar100", "imagenet", "folder"])
def test_every_data_set_explains_itself(dataset):
    result = run(dataset, "--help")
    assert result.exit_code == 0
    assert f"deps shards pack {dataset}" in result.stdout
