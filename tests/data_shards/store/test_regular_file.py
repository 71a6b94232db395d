"""Only regular files are opened."""

import os
from pathlib import Path

import pytest

from data_shards.store.regular_file import open_regular, read_regular


def test_reads_a_file_and_a_link_to_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"bytes")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "file") == read_regular(tmp_path / "link") == b"bytes"


@pytest.mark.parametrize("kind", ["fifo", "device", "folder", "link to a fifo"])
def test_refuses_what_is_no_regular_file_at_once_and_leaves_nothing_open(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(tmp_path / "fifo")
        path.symlink_to(tmp_path / "fifo")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="is not a regular file") as refused:
        open_regular(path)
    assert refused.value.filename == str(path)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("name", ["null\0character", "lone \ud800 surrogate"])
def test_what_is_no_name_of_a_file_is_told_as_one_that_is_not_there(name):
    with pytest.raises(OSError, match="is not the name of a file") as caught:
        open_regular(name)
    assert caught.value.filename == name
