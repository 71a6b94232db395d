"""Triton's kernels have a place also for a user without home."""

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from kernels.gpu import triton_cache


@pytest.fixture(autouse=True)
def without_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No place is named, and the test's own is the folder for temporary files."""
    monkeypatch.setattr(os, "environ", {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": ""})
    for name in ("TRITON_CACHE_DIR", "TRITON_HOME"):
        os.environ.pop(name, None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def triton_keeps_in(folder: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_cache, "knobs", SimpleNamespace(cache=SimpleNamespace(dir=str(folder))))


def test_tritons_own_folder_is_kept_where_it_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    triton_keeps_in(tmp_path / ".triton" / "cache", monkeypatch)
    triton_cache.settle_triton_cache()
    assert "TRITON_CACHE_DIR" not in os.environ


@pytest.mark.parametrize("unfit", ["~/.triton/cache", "/proc/.triton/cache"])
def test_where_it_cannot_the_folder_of_our_own_kernels_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unfit: str
) -> None:
    triton_keeps_in(unfit, monkeypatch)
    triton_cache.settle_triton_cache()
    assert os.environ["TRITON_CACHE_DIR"] == str(tmp_path / ".cache" / "deps-kernels" / "triton")
    assert not Path("~").exists()


def test_a_place_that_the_user_has_named_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    triton_keeps_in("/proc/.triton/cache", monkeypatch)
    os.environ["TRITON_CACHE_DIR"] = "/named"
    triton_cache.settle_triton_cache()
    assert os.environ["TRITON_CACHE_DIR"] == "/named"
