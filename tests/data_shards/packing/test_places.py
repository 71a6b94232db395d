"""Where a data set can be packed: OUT as a link, a mount point, this folder; and what is refused before any work."""

import os
import shutil
import subprocess

import pytest

from data_shards.errors import ShardDamage, ShardUsageError
from data_shards.packing.pack import pack
from data_shards.sources.digits import Digits
from data_shards.sources.digits100 import Digits100
from data_shards.sources.folder import folder
from data_shards.sources.image_file import Preparation
from data_shards.store.index import open_split
from data_shards.store.manifest import read_manifest
from data_shards.store.verify import verify
from tests.support.command_line import deps, refused

PACKED = ["manifest.json", "test", "train"]
SOURCE = Digits100(train=60, test=6)


class Untouched(Digits):
    """A source that nobody may ask for images: what is refused is refused before any work."""

    def samples(self, split, positions):
        raise AssertionError("work was begun")


def refuses(out, message, source=None):
    with pytest.raises(ShardUsageError, match=message) as raised:
        pack(source or Untouched(), out)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("place", [".", "new", "new/and/deeper", "empty", "empty/", "empty/../empty", "new/"])
def test_a_new_or_an_empty_folder_is_packed_into_however_it_is_named(place, tmp_path):
    (tmp_path / "empty").mkdir()
    here = tmp_path / "empty" if place == "." else tmp_path
    done = deps("shards", "pack", "digits100", place, "--train", 60, "--test", 6, cwd=here)
    assert done.returncode == 0, done
    assert done.stdout.endswith(": 60 train, 6 test images in 100 classes\n")
    assert sorted(os.listdir(here / place)) == PACKED


@pytest.mark.parametrize("there", [True, False], ids=["to an empty folder", "dangling"])
def test_a_link_is_packed_into_where_it_points_and_stays_a_link(there, tmp_path):
    large = tmp_path / "large disk"
    large.mkdir()
    if there:
        (large / "data").mkdir()
    (tmp_path / "out").symlink_to(large / "data")
    assert pack(SOURCE, tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert sorted(os.listdir(large / "data")) == PACKED
    assert pack(SOURCE, tmp_path / "out") is False
    assert verify(tmp_path / "out") == []


def test_the_folder_that_was_there_stays_the_same_one(tmp_path):
    """With its owner, its quota, its striping."""
    out = tmp_path / "out"
    out.mkdir(mode=0o750)
    before = out.stat()
    assert pack(SOURCE, out)
    assert (out.stat().st_ino, out.stat().st_mode) == (before.st_ino, before.st_mode)


def test_a_new_disk_is_empty_but_for_what_its_file_system_needs(tmp_path):
    (tmp_path / "lost+found").mkdir()
    assert pack(SOURCE, tmp_path)
    assert pack(SOURCE, tmp_path) is False


@pytest.fixture
def mount_point(tmp_path):
    """mount_point(options): a file system of its own, where that is permitted."""
    mounted = []

    def mount(options="size=8m"):
        place = tmp_path / "disk"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
        mounted.append(place)
        return place

    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


def test_a_mount_point_is_packed_into(mount_point):
    place = mount_point()
    assert pack(SOURCE, place)
    assert os.path.ismount(place)
    assert sorted(os.listdir(place)) == PACKED


def test_a_file_system_that_can_only_be_read_is_refused_before_any_work(mount_point):
    place = mount_point("ro")
    for out in (place, place / "new"):
        refuses(out, rf"^{out}: cannot be written: Read-only file system$")


def test_a_full_disk_is_refused_before_any_work(mount_point):
    place = mount_point("size=64k")
    with pytest.raises(OSError, match="No space left"):
        (place / "filler").write_bytes(b"\0" * (1 << 20))
    for _ in range(3):
        refuses(place / "out", rf"^{place}/out: cannot be written: No space left on device$")
    assert os.listdir(place) == ["filler"], "nothing of it is left"


def test_a_disk_that_is_full_when_packing_goes_on_keeps_what_was_finished(tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(os, "rename", refusing(OSError(28, "No space left on device"), at=out / "manifest.json"))
    with pytest.raises(ShardDamage):
        pack(SOURCE, out)
    finished = sorted(path.name for path in (out / ".packing").rglob("*.json"))
    monkeypatch.setattr("data_shards.packing.trial.write_durably", refusing(OSError(28, "No space left on device")))
    refuses(out, "cannot be written: No space left on device", SOURCE)
    assert sorted(path.name for path in (out / ".packing").rglob("*.json")) == finished


def refusing(error, at=None):
    """Stands in for a function of two paths: raises `error`, or only where the second path is `at`."""
    real = os.rename

    def call(one, other):
        if at is None or other == at:
            raise error
        return real(one, other)

    return call


def test_a_folder_in_which_nothing_may_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    real = os.mkdir

    def mkdir(path, *arguments, **options):
        if os.path.basename(path) == ".packing" and os.path.exists(os.path.dirname(path)):
            raise PermissionError(13, "Permission denied", path)
        real(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", mkdir)
    refuses(tmp_path / "out", rf"^{tmp_path}/out: cannot be written: Permission denied$")
    refuses(tmp_path / "new" / "deep", rf"^{tmp_path}/new/deep: cannot be written: Permission denied$")
    assert os.listdir(tmp_path) == ["out"], "the folders that were made for it are gone again"


def test_a_place_that_can_be_no_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "loop").symlink_to("loop")
    refuses(tmp_path / "file", "file is a file, not a folder to pack into")
    refuses(tmp_path / "file" / "below", "file/below is a file, not a folder to pack into")
    refuses(tmp_path / "loop", "loop: cannot be listed: Too many levels of symbolic links")
    refuses(tmp_path / ("x" * 300), "cannot be listed: File name too long")
    refuses("/dev/null", "/dev/null is a file, not a folder to pack into")
    assert sorted(os.listdir(tmp_path)) == ["file", "loop"]


@pytest.mark.parametrize("place", ["..", "/", "."])
def test_a_folder_with_something_else_in_it_is_refused(place, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "todo.txt").write_text("mine")
    line = refused(deps("shards", "pack", "digits", place, cwd=tmp_path / "notes"))
    assert "is not empty and holds no packed data set: choose another folder" in line
    assert [path.name for path in tmp_path.rglob("*")] == ["notes", "todo.txt"]


@pytest.fixture
def src(tmp_path, photo_file, write_tree):
    files = {f"{split}/{name}/{n}.jpg": photo_file(n) for split in ("train", "test") for name in "ab" for n in range(2)}
    return write_tree(tmp_path / "src", files)


def test_a_place_among_the_images_is_refused_and_one_beside_them_is_not(src):
    source = folder(src, Preparation())
    for among in (src / "train", src / "train" / "packed", src / "test" / "a" / "packed"):
        with pytest.raises(ShardUsageError, match=r"among the images|not empty"):
            pack(source, among)
    for around in (src, src.parent):
        with pytest.raises(ShardUsageError, match="is not empty and holds no packed data set"):
            pack(source, around)
    assert pack(source, src / "packed")
    assert pack(folder(src, Preparation()), src / "packed") is False, "the same command again"


def test_a_tree_without_splits_takes_no_place_within_it(src):
    """It would be taken for a class the next time."""
    source = folder(src / "train", Preparation(), test_share=0.5)
    with pytest.raises(ShardUsageError, match=r"train/packed lies in .*/src/train, among the images"):
        pack(source, src / "train" / "packed")
    assert sorted(os.listdir(src / "train")) == ["a", "b"]


# Publishing, step by step.


@pytest.mark.parametrize("step", ["test", "train", "manifest.json"])
def test_killed_at_any_step_of_publishing_there_is_no_pack_and_the_same_command_goes_on(
    step, tmp_path, monkeypatch, files_of
):
    out = tmp_path / "out"
    assert pack(SOURCE, tmp_path / "whole", samples_per_shard=20)
    monkeypatch.setattr(os, "rename", refusing(KeyboardInterrupt(), at=out / step))
    with pytest.raises(KeyboardInterrupt):
        pack(SOURCE, out, samples_per_shard=20)
    monkeypatch.undo()
    with pytest.raises(ShardUsageError, match="no shards at"):
        open_split(out, "train")
    kept = {path.name: path.stat().st_ino for path in out.rglob("*.tar")}
    assert len(kept) == 4
    assert pack(SOURCE, out, samples_per_shard=20)
    assert files_of(out) == files_of(tmp_path / "whole")
    assert {path.name: path.stat().st_ino for path in out.rglob("*.tar")} == kept, "the very files that were finished"


def test_killed_while_publishing_another_data_set_can_be_packed_there(tmp_path, monkeypatch, files_of):
    out = tmp_path / "out"
    monkeypatch.setattr(os, "rename", refusing(KeyboardInterrupt(), at=out / "manifest.json"))
    with pytest.raises(KeyboardInterrupt):
        pack(SOURCE, out)
    monkeypatch.undo()
    other = Digits100(train=30, test=6, seed=5)
    assert pack(other, out, samples_per_shard=10)
    assert pack(other, tmp_path / "fresh", samples_per_shard=10)
    assert files_of(out) == files_of(tmp_path / "fresh")


def test_what_somebody_put_there_meanwhile_is_not_touched(tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(os, "rename", refusing(KeyboardInterrupt(), at=out / "manifest.json"))
    with pytest.raises(KeyboardInterrupt):
        pack(SOURCE, out)
    monkeypatch.undo()
    (out / "val").mkdir()
    (out / "val" / "notes.txt").write_text("mine")
    refuses(out, "is not empty", SOURCE)
    assert (out / "val" / "notes.txt").read_text() == "mine"


def test_a_pack_is_whole_from_its_last_step_on_whatever_is_left_beside_it(tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr("data_shards.packing.folder.PackingFolder.remove", lambda self: None)
    assert pack(SOURCE, out)
    assert ".packing" in os.listdir(out)
    assert verify(out) == []
    assert read_manifest(out).splits["train"].samples == 60
    monkeypatch.undo()
    assert pack(SOURCE, out) is False
    assert sorted(os.listdir(out)) == PACKED
