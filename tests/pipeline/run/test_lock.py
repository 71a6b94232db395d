"""One process at a time trains a run, as far as the file system can tell; where it cannot, a line says so."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.run import lock as run_lock
from pipeline.run.lock import hold, is_held


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "_SECONDS_TO_TRY", 0.0)


def flock_fails(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def flock(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_network_file_system_may_say_in_another_way_that_it_is_held(tmp_path: Path, monkeypatch, number) -> None:
    hold(tmp_path).close()
    flock_fails(monkeypatch, number)
    assert is_held(tmp_path)
    with pytest.raises(UsageError, match="another process is training this run"):
        hold(tmp_path)


@pytest.mark.parametrize("lacking", ["ENOLCK", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"])
def test_without_locks_training_goes_on_and_one_line_says_what_is_lacking(
    tmp_path: Path, monkeypatch, caplog, lacking: str
) -> None:
    flock_fails(monkeypatch, getattr(errno, lacking))
    hold(tmp_path).close()
    (line,) = caplog.messages
    reason = os.strerror(getattr(errno, lacking))
    assert line.startswith(f"run folder {tmp_path}: its file system cannot lock files ({reason})")
    assert not is_held(tmp_path)
