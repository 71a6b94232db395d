"""File systems without hard links, flock or renaming; system calls that fail as theirs do stand for them."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from data_shards.errors import ShardUsageError
from data_shards.packing.lock import locked
from data_shards.packing.pack import pack
from data_shards.sources.digits import Digits
from data_shards.sources.digits100 import Digits100
from data_shards.store.index import open_split
from data_shards.store.verify import verify

SOURCE = Digits100(train=60, test=6)
NO_LOCKS = [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EINVAL]


def failing(code):
    def call(*arguments, **options):
        raise OSError(code, os.strerror(code))

    return call


@pytest.fixture(params=NO_LOCKS, ids=errno.errorcode.get)
def without_flock(request, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(request.param))


def test_without_flock_a_data_set_is_packed(without_flock, tmp_path):
    assert pack(SOURCE, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["manifest.json", "test", "train"]
    assert pack(SOURCE, tmp_path / "out") is False
    assert verify(tmp_path / "out") == []


def test_without_flock_the_next_attempt_goes_on(without_flock, tmp_path, monkeypatch):
    with monkeypatch.context() as during:
        during.setattr(os, "rename", failing(errno.EIO))
        with pytest.raises(ShardUsageError, match="cannot rename a folder: Input/output error"):
            pack(SOURCE, tmp_path / "out")
    assert pack(SOURCE, tmp_path / "out")


# Packs where there is no flock, and stops for ever.
PROGRAM = textwrap.dedent("""
    import errno, fcntl, sys, threading
    def flock(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")
    fcntl.flock = flock
    from data_shards.packing.pack import pack
    from data_shards.sources.digits100 import Digits100
    class Stopping(Digits100):
        def samples(self, split, positions):
            if split == "test":
                print("packing", flush=True)
                threading.Event().wait()
            yield from super().samples(split, positions)
    pack(Stopping(train=60, test=6), sys.argv[1], samples_per_shard=20, threads=1)
""")


def test_without_flock_another_process_is_kept_away_until_it_is_dead(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    out = tmp_path / "out"
    with subprocess.Popen([sys.executable, "-c", PROGRAM, out], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"packing\n"
        with pytest.raises(ShardUsageError, match=rf"another process is packing into {out} at this moment: .*no flock"):
            pack(SOURCE, out, samples_per_shard=20)
        process.send_signal(signal.SIGKILL)
    finished = {path.name: path.stat().st_ino for path in out.rglob("*.tar")}
    assert len(finished) == 3
    assert pack(SOURCE, out, samples_per_shard=20)
    assert finished.items() <= {path.name: path.stat().st_ino for path in out.rglob("*.tar")}.items()


def test_without_flock_a_process_of_another_machine_is_left_to_the_user(tmp_path, monkeypatch):
    """Whether it is alive, nobody can see from here. What to do is said, and helps."""
    monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
    out = tmp_path / "out"
    (out / ".packing").mkdir(parents=True)
    holder = out / ".packing" / ".holder"
    holder.write_text("4711\nanother-machine\n")
    with pytest.raises(ShardUsageError, match=rf"the one that {holder} names\. Delete that file if it has ended"):
        pack(SOURCE, out)
    holder.unlink()
    assert pack(SOURCE, out)


@pytest.mark.parametrize("code", [errno.EWOULDBLOCK, errno.EACCES])
def test_that_another_process_packs_is_said_only_where_one_does(code, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(code))
    with pytest.raises(ShardUsageError, match="another process is packing"):
        pack(SOURCE, tmp_path / "out")


def test_without_hard_links_a_data_set_is_packed(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    assert pack(SOURCE, tmp_path / "out")


def test_nothing_is_renamed_over_a_folder(tmp_path, monkeypatch):
    """SMB, and some NFS and FUSE mounts, refuse that even where the folder is empty."""
    real = os.rename

    def rename(one, other):
        if os.path.isdir(other):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        real(one, other)

    monkeypatch.setattr(os, "rename", rename)
    (tmp_path / "out").mkdir()
    assert pack(SOURCE, tmp_path / "out")
    assert verify(tmp_path / "out") == []


class Untouched(Digits):
    def samples(self, split, positions):
        raise AssertionError("work was begun")


@pytest.mark.parametrize(("call", "what"), [("replace", "rename a file over another"), ("rename", "rename a folder")])
def test_what_a_file_system_lacks_is_said_before_any_work(call, what, tmp_path, monkeypatch):
    monkeypatch.setattr(os, call, failing(errno.ENOSYS))
    with pytest.raises(ShardUsageError, match=rf"^{tmp_path}/out: its file system cannot {what}: Function not impl"):
        pack(Untouched(), tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_files_that_are_open_and_deleted_are_no_failure(tmp_path, monkeypatch):
    """NFS keeps such a file under another name in its folder, which can then not be removed."""
    real = os.rmdir

    def rmdir(path, *arguments, **options):
        if os.path.basename(path) == ".packing":
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        real(path, *arguments, **options)

    monkeypatch.setattr(os, "rmdir", rmdir)
    assert pack(SOURCE, tmp_path / "out")
    assert len(open_split(tmp_path / "out", "train")) == 60
    monkeypatch.undo()
    assert pack(SOURCE, tmp_path / "out") is False
    assert ".packing" not in os.listdir(tmp_path / "out")


@pytest.mark.parametrize("flock", [True, False])
def test_the_lock_leaves_nothing_and_is_held_by_one(flock, tmp_path, monkeypatch):
    if not flock:
        monkeypatch.setattr(fcntl, "flock", failing(errno.ENOSYS))
    place = tmp_path / "out" / ".packing"
    for _ in range(2):
        with locked(place), pytest.raises(ShardUsageError, match="another process is packing into"), locked(place):
            pass
        assert os.listdir(tmp_path / "out") == []
