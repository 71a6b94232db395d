"""Names of files that are not UTF-8, or have control characters: packed or refused, and readable in messages."""

import json
import os
import subprocess
import sys

import pytest

from data_shards.errors import ShardUsageError, UndecodableImages
from data_shards.packing.pack import pack
from data_shards.sources.file_names import as_name, as_text, printable
from data_shards.sources.folder import folder
from data_shards.sources.image_file import Preparation
from data_shards.sources.imagenet import imagenet
from data_shards.store.index import open_split
from data_shards.store.manifest import read_manifest
from tests.support.command_line import deps, refused

KEEP = Preparation()
LATIN, BREAK, BELL = b"caf\xe9", b"two\nlines", b"ring\x07\x1b[2J"
SHOWN = {LATIN: r"caf\xe9", BREAK: r"two\nlines", BELL: r"ring\x07\x1b[2J"}


@pytest.fixture
def tree(tmp_path, photo_file, write_tree):
    """tree(class folder, file): two classes in two splits, one of them of this name, and a file of this name in it."""

    def write(of_class=b"a", file=b"0.jpg"):
        src = tmp_path / "src"
        names = (os.fsdecode(of_class), "b")
        files = {f"{split}/{name}/{n}.jpg": photo_file(n) for split in ("train", "test") for name in names for n in (1, 2)}  # fmt: skip  # noqa: E501
        return write_tree(src, {**files, f"train/{names[0]}/{os.fsdecode(file)}": photo_file(7)})

    return write


@pytest.mark.parametrize("name", SHOWN, ids=["not UTF-8", "line break", "control characters"])
def test_a_class_that_cannot_be_named_is_refused_before_any_work(name, tree, tmp_path):
    src = tree(of_class=name)
    line = refused(deps("shards", "pack", "folder", src, tmp_path / "out"))
    assert f"{src}/train/{SHOWN[name]}: the name of a class has to be UTF-8, without control characters" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", SHOWN, ids=["not UTF-8", "line break", "control characters"])
def test_a_file_of_any_name_is_packed(name, tree, tmp_path, photo_file):
    src = tree(file=name + b".jpg")
    done = deps("shards", "pack", "folder", src, tmp_path / "out", "--json")
    assert done.returncode == 0, done
    train = open_split(tmp_path / "out", "train")
    assert photo_file(7) in [train.read(sample) for sample in range(len(train))]
    assert pack(folder(src, KEEP), tmp_path / "out") is False


@pytest.mark.parametrize("name", SHOWN, ids=["not UTF-8", "line break", "control characters"])
def test_an_undecodable_file_of_any_name_is_named_readably(name, tree, tmp_path):
    src = tree(file=name + b".jpg")
    (src / "train" / "a" / os.fsdecode(name + b".jpg")).write_bytes(b"no image")
    place = f"{src}/train/a/{SHOWN[name]}.jpg"
    with pytest.raises(UndecodableImages) as raised:
        pack(folder(src, KEEP), tmp_path / "out")
    assert raised.value.images[0].startswith(f"{place}: ")
    told = json.loads(deps("shards", "pack", "folder", src, tmp_path / "out", "--json").stdout)
    assert told["undecodable"][0].startswith(f"{place}: ")
    told = json.loads(deps("shards", "pack", "folder", src, tmp_path / "out", "--json", "--on-corrupt", "skip").stdout)
    assert told["left_out"][0]["name"] == place
    assert read_manifest(tmp_path / "out").notes.left_out[0].name == place


def test_classes_that_look_the_same_are_refused(tree, tmp_path, photo_file, write_tree):
    src = tree(of_class="café".encode())
    write_tree(src, {f"{split}/cafe\u0301/1.jpg": photo_file(1) for split in ("train", "test")})
    with pytest.raises(ShardUsageError, match=r"src/train: 'cafe\\u0301' and 'caf\\xe9' look the same \(café\)"):
        folder(src, KEEP)


def test_a_split_that_composes_a_class_otherwise_is_told_so(tree):
    """As where one of the two was copied from another system."""
    src = tree(of_class="café".encode())
    (src / "test" / "café").rename(src / "test" / "cafe\u0301")
    with pytest.raises(ShardUsageError, match=r"'cafe\\u0301' looks like 'caf\\xe9' in .*/train, and is another name"):
        folder(src, KEEP)


def test_other_names_than_english_ones_are_kept(tree, tmp_path):
    src = tree(of_class="日本語 – naïve".encode(), file="ё.jpg".encode())
    assert pack(folder(src, KEEP), tmp_path / "out")
    assert read_manifest(tmp_path / "out").classes == ("b", "日本語 – naïve")


def test_the_same_tree_is_the_same_data_set_in_any_locale(tree, tmp_path, files_of, photo_file):
    src = tree(of_class="größe".encode(), file=b"\xc3\xa9t\xe9.jpg")
    for number, name in enumerate((b"\xf5.jpg", "\ue000.jpg".encode())):  # in this order as text, in the other as bytes
        (src / "train" / "größe" / os.fsdecode(name)).write_bytes(photo_file(20 + number))
    assert pack(folder(src, KEEP), tmp_path / "here", threads=1)
    program = "import sys; sys.getfilesystemencoding() == 'ascii' or sys.exit('not as planned'); import deps_command; "
    command = [sys.executable, "-c", program + "deps_command.main()", "shards", "pack", "folder"]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    subprocess.run([*command, str(src), str(tmp_path / "there")], env=environment, check=True, capture_output=True)
    assert files_of(tmp_path / "there") == files_of(tmp_path / "here")


SYNSETS = ("n01440764", "n01443537")


def published(root, write_tar, members):
    """ILSVRC2012's tars: the training images `members` (name, bytes) of each synset, and a validation image of each."""
    root.mkdir()
    inner = [(f"{synset}.tar", write_tar(None, members)) for synset in SYNSETS]
    write_tar(root / "ILSVRC2012_img_train.tar", inner)
    write_tar(root / "ILSVRC2012_img_val.tar", [(f"{n}.JPEG", members[0][1]) for n in range(2)])
    (root / "val_labels.txt").write_text("".join(f"{synset}\n" for synset in SYNSETS))
    return root


def test_members_of_a_tar_are_named_as_files_are(tmp_path, write_tar, photo_file):
    names = [f"{os.fsdecode(name)}.JPEG" for name in SHOWN]
    whole = published(tmp_path / "whole", write_tar, [(name, photo_file(3)) for name in names])
    assert imagenet(whole, KEEP).splits["train"] == 6
    assert pack(imagenet(whole, KEEP), tmp_path / "out")
    broken = published(tmp_path / "broken", write_tar, [(name, b"no image") for name in names])
    with pytest.raises(UndecodableImages) as raised:
        pack(imagenet(broken, KEEP), tmp_path / "other")
    lines = "\n".join(raised.value.images)
    assert all(f"n01440764.tar/{shown}.JPEG: " in lines for shown in SHOWN.values())
    assert len(lines.splitlines()) == 8


@pytest.mark.parametrize("what", ["pipe", "device"])
def test_what_is_no_regular_file_is_not_waited_for(what, tree):
    src = tree()
    path = src / "train" / "a" / "pipe.jpg"
    os.mkfifo(path) if what == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(ShardUsageError, match=r"pipe\.jpg: is not a regular file"):
        folder(src, KEEP)


@pytest.mark.parametrize(
    "name", [b"plain.jpg", "naïve 日本".encode(), b"\xff\xfe", b"a\x80b\xc3\xa9", bytes(range(1, 47))]
)
def test_a_name_comes_back_from_its_text_and_can_be_printed(name):
    text = as_text(os.fsdecode(name))
    assert os.fsencode(as_name(text)) == name
    shown = printable(text)
    assert shown.encode().decode() == shown
    assert len(shown.splitlines()) == 1
    assert shown.isprintable()


def test_digits_of_other_scripts_are_no_synset(tmp_path, photo_file, write_tree):
    synset = "n" + "٠١٢٣٤٥٦٧"
    src = write_tree(tmp_path / "src", {f"{split}/{synset}/0.JPEG": photo_file(0) for split in ("train", "val")})
    with pytest.raises(ShardUsageError, match="is not named for a synset"):
        imagenet(src, KEEP)
