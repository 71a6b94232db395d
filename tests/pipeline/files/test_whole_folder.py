"""A folder under its name is whole, whatever ends the process that writes it."""

import os
import signal
from pathlib import Path

import pytest

from pipeline.files.whole_folder import whole_folder


def test_it_has_its_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "not yet" / "folder"
    with whole_folder(path) as folder:
        (folder / "file").write_text("content")
        assert not path.exists()
    assert (path / "file").read_text() == "content"
    assert os.listdir(path.parent) == ["folder"]


def test_nothing_is_left_of_one_that_failed(tmp_path: Path) -> None:
    def write() -> None:
        with whole_folder(tmp_path / "folder") as folder:
            (folder / "file").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert not os.listdir(tmp_path)


def test_one_that_was_killed_is_not_there_and_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    child = os.fork()
    if not child:
        with whole_folder(path) as folder:
            (folder / "half").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert not path.exists()
    with whole_folder(path) as folder:
        (folder / "file").write_text("content")
    assert os.listdir(path) == ["file"]
    assert os.listdir(tmp_path) == ["folder"]


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "own").write_text("own")

    def write() -> None:
        with whole_folder(path) as folder:
            (folder / "file").write_text("content")

    with pytest.raises(OSError) as caught:
        write()
    assert caught.value.filename == str(path)
    assert os.listdir(path) == ["own"]
    assert os.listdir(tmp_path) == ["folder"]
