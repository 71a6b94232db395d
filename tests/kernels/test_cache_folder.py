"""Where compiled kernels are kept: the user's own folder, also for a user without home, and nobody else's code."""

import os
import pwd
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from kernels.cache_folder import CacheRefused, in_own_folder

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
ANOTHER_USER = 54321


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A home and a folder for temporary files of the test's own, and an empty current folder."""
    folders = SimpleNamespace(home=tmp_path / "home", temporary=tmp_path / "tmp", current=tmp_path / "current")
    for folder in vars(folders).values():
        folder.mkdir()
    monkeypatch.setenv("HOME", str(folders.home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(folders.temporary))
    monkeypatch.chdir(folders.current)
    return folders


def kept() -> Path:
    return in_own_folder(lambda folder: folder)


def mounted_noexec(monkeypatch: pytest.MonkeyPatch, *roots: Path) -> None:
    def statvfs(path: Path) -> SimpleNamespace:
        return SimpleNamespace(f_flag=os.ST_NOEXEC * any(path.is_relative_to(root) for root in roots))

    monkeypatch.setattr(os, "statvfs", statvfs)


def test_it_is_in_the_users_cache_with_mode_700(place, monkeypatch, tmp_path, caplog) -> None:
    assert kept() == place.home / ".cache" / "deps-kernels"
    assert kept().stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new" / "cache"))
    assert kept() == tmp_path / "new" / "cache" / "deps-kernels"
    assert caplog.messages == []


@pytest.mark.parametrize("named", ["", "relative"])
def test_an_empty_or_relative_name_of_the_cache_is_none(place, monkeypatch, named: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    assert kept() == place.home / ".cache" / "deps-kernels"
    assert list(place.current.iterdir()) == []


@pytest.mark.parametrize("home", [None, "relative", "/proc", "/dev/null", "closed"])
def test_a_user_without_a_home_to_write_in_has_a_private_temporary_folder_and_is_told(
    place, monkeypatch, caplog, home: str | None
) -> None:
    """Also root, whom no mode keeps from writing."""
    if home is None:
        monkeypatch.delenv("HOME")
        monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])
    elif home == "closed":
        monkeypatch.setattr(os, "access", lambda path, mode, effective_ids: not Path(path).is_relative_to(place.home))
    else:
        monkeypatch.setenv("HOME", home)
    folder = kept()
    assert folder == place.temporary / f"deps-kernels-{os.geteuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert kept() == folder  # the next start finds what this one has made
    (line, again) = caplog.messages
    assert line == again
    assert "cache/deps-kernels: " in line
    assert f"kept in {folder}" in line
    assert "XDG_CACHE_HOME=FOLDER" in line
    assert list(place.current.iterdir()) == []


def test_a_place_that_runs_no_code_is_passed_over_and_told(place, monkeypatch, caplog) -> None:
    mounted_noexec(monkeypatch, place.home)
    assert kept().parent == place.temporary
    (line,) = caplog.messages
    assert f"{place.home}/.cache/deps-kernels: is mounted noexec" in line


def test_one_process_of_a_machine_tells(place, monkeypatch, caplog) -> None:
    mounted_noexec(monkeypatch, place.home)
    for rank in ("0", "1", "2"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert kept().parent == place.temporary
    assert len(caplog.messages) == 1


def test_where_no_place_does_each_is_named_in_one_line(place, monkeypatch) -> None:
    mounted_noexec(monkeypatch, place.home, place.temporary)
    with pytest.raises(CacheRefused) as refused:
        kept()
    line = str(refused.value)
    assert line.startswith(f"{place.home}/.cache/deps-kernels: is mounted noexec; {place.temporary}/deps-kernels-")
    assert line.endswith("; XDG_CACHE_HOME=FOLDER names another place")


def test_a_place_that_whoever_uses_it_refuses_is_passed_over_and_told(place, caplog) -> None:
    def use(folder: Path) -> Path:
        if folder.is_relative_to(place.home):
            raise CacheRefused(f"{folder}: No space left on device")
        return folder

    assert in_own_folder(use).parent == place.temporary
    assert "No space left on device; what is compiled is kept in" in caplog.messages[0]


def test_a_folder_of_ones_own_that_others_could_write_is_closed_to_them(place, caplog) -> None:
    kept().chmod(0o777)
    assert kept().stat().st_mode & 0o777 == 0o700
    assert caplog.messages == []


def test_a_link_to_a_folder_of_ones_own_is_followed(place, tmp_path) -> None:
    (tmp_path / "scratch").mkdir()
    (place.home / ".cache").mkdir()
    (place.home / ".cache" / "deps-kernels").symlink_to(tmp_path / "scratch")
    assert kept() == place.home / ".cache" / "deps-kernels"
    assert (tmp_path / "scratch").stat().st_mode & 0o777 == 0o700


@ROOT_ONLY
def test_a_folder_of_another_user_is_never_used_not_even_under_the_name_of_the_temporary_one(place, caplog) -> None:
    taken = [place.home / ".cache" / "deps-kernels", place.temporary / f"deps-kernels-{os.geteuid()}"]
    for folder in taken:
        folder.mkdir(parents=True)
        os.chown(folder, ANOTHER_USER, ANOTHER_USER)
    folder = kept()
    assert folder not in taken
    assert folder.parent == place.temporary
    assert folder.stat().st_mode & 0o777 == 0o700
    (line,) = caplog.messages
    assert all(f"{each}: belongs to another user" in line for each in taken)


@ROOT_ONLY
def test_a_link_of_another_user_is_not_followed(place, tmp_path) -> None:
    (tmp_path / "mine").mkdir(mode=0o755)
    (place.home / ".cache").mkdir()
    link = place.home / ".cache" / "deps-kernels"
    link.symlink_to(tmp_path / "mine")
    os.lchown(link, ANOTHER_USER, ANOTHER_USER)
    assert kept().parent == place.temporary
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o755
