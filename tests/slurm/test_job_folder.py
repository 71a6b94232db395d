"""The folder of a job: whole or not there, and what is damaged in it is named."""

import subprocess
from pathlib import Path

import pytest

from cluster import source
from cluster.job_folder import JobRecord, read_record, write_folder
from cluster.source import PACKAGES, freeze
from pipeline.errors import UsageError
from pipeline.recipe.reading import load_recipe
from tests.faults.test_storage import Disk
from tests.support.processes import REPOSITORY

RECORD = JobRecord(("/runs/a",), "deepspeed", 1, 1, "2026-11-23T00:00:00+00:00")


def write(folder: Path) -> None:
    write_folder(folder, [load_recipe(REPOSITORY / "recipes" / "digits.yaml")], "#!/bin/bash\n", RECORD)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=n", "-c", "user.email=e"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean checkout in place of ours: a file of 4 MB in each package."""
    root = tmp_path / "checkout"
    for package in PACKAGES:
        (root / package).mkdir(parents=True)
        (root / package / "code.py").write_bytes(bytes(4 << 20))
    git(tmp_path, "init", str(root))
    git(root, "add", ".")
    git(root, "commit", "-m", "first")
    monkeypatch.setattr(source, "ROOT", root)
    return root


def test_of_two_submissions_at_the_same_moment_the_second_leaves_the_first_alone(tmp_path: Path) -> None:
    folder = tmp_path / "jobs" / "digits-20261123-000000"
    write(folder)
    with pytest.raises(UsageError, match="cannot be written: File exists"):
        write(folder)
    assert (folder / "job.sh").exists()
    assert read_record(folder).runs == ("/runs/a",)


@pytest.mark.parametrize("edited", [False, True])
def test_a_full_disk_leaves_no_folder_and_is_told_in_one_line(checkout: Path, tmp_path: Path, edited: bool) -> None:
    try:
        disk = Disk(tmp_path / "disk")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems cannot be mounted here: needs root, and a container that may")
    try:
        disk.remount("size=1m")
        if edited:
            (checkout / PACKAGES[0] / "code.py").write_bytes(b"#" * (4 << 20))
        with pytest.raises(
            UsageError, match=r"jobs/a: cannot be written: .*(No space left|Wrote only).*; choose another"
        ):
            write(disk.path / "jobs" / "a")
        assert not (disk.path / "jobs" / "a").exists()
    finally:
        disk.remove()


def test_code_of_which_git_cannot_tell_whether_it_is_edited_is_copied_as_it_is(checkout: Path, tmp_path: Path) -> None:
    edited = checkout / PACKAGES[0] / "code.py"
    edited.write_text("edited")
    (checkout / ".git" / "index").write_bytes(b"damaged")
    assert freeze(tmp_path / "code")["state"] == "edited"
    assert (tmp_path / "code" / PACKAGES[0] / "code.py").read_text() == "edited"
