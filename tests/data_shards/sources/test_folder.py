"""`folder`: trees of class folders, with splits or without; anything else is refused in one line."""

import os

import numpy as np
import pytest

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.packing.pack import pack
from data_shards.sources.folder import folder
from data_shards.sources.image_file import Preparation
from data_shards.store.index import open_split
from data_shards.store.manifest import read_manifest

KEEP = Preparation()


@pytest.fixture
def tree(tmp_path, photo_file, write_tree):
    """tree(*folders, per_class=…): a tree with classes a, b and c in each of the folders."""

    def write(*folders, per_class=10):
        files = {}
        for number, above in enumerate(folders):
            for label, name in enumerate("abc"):
                for image in range(per_class):
                    files[f"{above}{name}/{image}.jpg"] = photo_file(1000 * number + 100 * label + image)
        return write_tree(tmp_path / "src", files)

    return write


def samples(source, split):
    return sorted(
        (source.classes[sample.label], sample.encoded)
        for sample in source.samples(split, np.arange(source.splits[split]))
    )


def on_disk(root):
    return sorted((path.parent.name, path.read_bytes()) for path in root.rglob("*.jpg"))


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train/", "test/"), {"train": "train", "test": "test"}),
        (("train/", "val/"), {"train": "train", "test": "val"}),
        (("train/", "val/", "test/"), {"train": "train", "val": "val", "test": "test"}),
    ],
)
def test_the_splits_are_those_of_the_tree(tree, tmp_path, folders, splits):
    src = tree(*folders)
    source = folder(src, KEEP)
    assert source.classes == ("a", "b", "c")
    assert pack(source, tmp_path / "out", samples_per_shard=7)
    for split, name in splits.items():
        assert samples(source, split) == on_disk(src / name)
        ours = open_split(tmp_path / "out", split)
        assert [ours.read(sample) for sample in range(30)] == [
            sample.encoded for sample in source.samples(split, np.arange(30))
        ]


def test_a_share_is_held_out_of_each_class_by_name(tree, tmp_path):
    src = tree("", per_class=20)
    source = folder(src, KEEP, test_share=0.2)
    train, test = samples(source, "train"), samples(source, "test")
    assert sorted(train + test) == on_disk(src)
    assert [name for name, _ in test] == ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert samples(folder(src, KEEP, seed=9, test_share=0.2), "test") == test
    larger = samples(folder(src, KEEP, test_share=0.5), "test")
    assert set(test) < set(larger)
    src.rename(tmp_path / "elsewhere")
    assert samples(folder(tmp_path / "elsewhere", KEEP, test_share=0.2), "test") == test


def test_a_class_of_two_gives_one_to_each_split(tree):
    source = folder(tree("", per_class=2), KEEP, test_share=0.01)
    assert source.splits == {"train": 3, "test": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda src: (src / "train" / "a" / "notes.txt").write_text(""), r"notes\.txt is no image by its name"),
        (lambda src: (src / "train" / "a" / "more").mkdir(), "more is a folder, where only images should be"),
        (lambda src: (src / "train" / "list.jpg").write_text(""), r"list\.jpg is a file, where a folder for each"),
        (lambda src: (src / "test" / "d").mkdir(), "d: no class of that name in"),
        (lambda src: (src / "train" / "d").mkdir(), "no train image of class 'd'"),
        (lambda src: (src / "test" / "b").rename(src / "b"), "no test image of class 'b'"),
        (lambda src: (src / "test").rename(src / "rest"), "has a train folder, but neither test nor val"),
        (
            lambda src: (src / "train" / "a" / "9.jpg").unlink() or (src / "train" / "a" / "9.jpg").symlink_to("no"),
            "9.jpg: cannot be read",
        ),
        (lambda src: (src / "train").rename(src / "training"), "has no train folder: .* --test-share"),
    ],
)
def test_a_tree_of_another_form_is_refused(tree, change, message):
    src = tree("train/", "test/")
    change(src)
    with pytest.raises(ShardUsageError, match=message) as raised:
        folder(src, KEEP)
    assert "\n" not in str(raised.value)


def test_a_share_that_makes_no_sense_is_refused(tree):
    src = tree("", per_class=2)
    for share in (0, 1, -0.5, 3):
        with pytest.raises(ShardUsageError, match="is not between 0 and 1"):
            folder(src, KEEP, test_share=share)
    (src / "a" / "1.jpg").unlink()
    with pytest.raises(ShardUsageError, match="at least two images"):
        folder(src, KEEP, test_share=0.5)
    for above in ("train", "test"):
        (src / above / "a").mkdir(parents=True)
    with pytest.raises(ShardUsageError, match="--test-share is for a tree without splits"):
        folder(src, KEEP, test_share=0.5)


def test_what_file_managers_leave_behind_is_passed_over(tree):
    src = tree("train/", "test/")
    for litter in (".DS_Store", "Thumbs.db"):
        (src / "train" / litter).write_text("")
        (src / "train" / "a" / litter).write_text("")
    assert folder(src, KEEP).splits == {"train": 30, "test": 30}


def test_a_file_that_changes_while_packing_is_named(tree, tmp_path):
    src = tree("train/", "test/")
    source = folder(src, KEEP)
    path = src / "train" / "b" / "3.jpg"
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ShardDamage, match=r"b/3\.jpg: has \d+ bytes now; it had \d+ when the images were listed"):
        pack(source, tmp_path / "out", on_corrupt="skip")
    path.unlink()
    with pytest.raises(ShardDamage, match=r"b/3\.jpg: cannot be read: No such file"):
        pack(source, tmp_path / "out", on_corrupt="skip")
    assert os.listdir(tmp_path / "out") == [".packing"]


def test_other_files_or_options_are_another_data_set(tree, tmp_path):
    src = tree("train/", "test/")
    assert pack(folder(src, KEEP), tmp_path / "out")
    assert pack(folder(src, KEEP), tmp_path / "out") is False
    for preparation, seed in ((Preparation(short_side=16), 0), (Preparation(quality=80), 0), (KEEP, 1)):
        with pytest.raises(ShardUsageError, match="already holds folder"):
            pack(folder(src, preparation, seed), tmp_path / "out")
    (src / "train" / "a" / "3.jpg").unlink()
    with pytest.raises(ShardUsageError, match="already holds folder"):
        pack(folder(src, KEEP), tmp_path / "out")


def test_resizing_is_counted(tree, tmp_path):
    src = tree("train/", "test/")
    assert pack(folder(src, Preparation(short_side=12)), tmp_path / "out")
    assert read_manifest(tmp_path / "out").notes.changed == {"resized": 60}
    rows = open_split(tmp_path / "out", "train").index
    assert set(zip(rows["height"].tolist(), rows["width"].tolist(), strict=True)) == {(12, 16)}
