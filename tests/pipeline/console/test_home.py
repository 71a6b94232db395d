"""Users without home or entry in passwd, as in containers that run under a number."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.console.home import settle_home

ROOT = Path(__file__).parents[3]
NUMBER = "54321"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of the test's own; what is put into the environment is taken out again."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(os, "environ", {**os.environ})
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME"):
        os.environ.pop(name, None)
    return tmp_path / "tmp"


def test_a_home_that_can_be_written_is_left_alone(tmp_path: Path) -> None:
    os.environ["HOME"] = str(tmp_path)
    before = dict(os.environ)
    settle_home()
    assert os.environ == before


@pytest.mark.parametrize("home", [None, "/nonexistent/home", "relative"])
def test_matplotlib_gets_a_private_folder_of_its_own(temporary: Path, monkeypatch, home: str | None) -> None:
    del os.environ["HOME"]
    if home is not None:
        os.environ["HOME"] = home
    monkeypatch.setattr(pwd, "getpwuid", lambda number: {}[number])
    monkeypatch.setattr(os, "access", lambda path, mode, effective_ids: str(path).startswith(str(temporary)))
    settle_home()
    assert os.environ["HOME"] == (home or "/")
    folder = Path(os.environ["MPLCONFIGDIR"])
    assert folder.parent == temporary
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["MPLCONFIGDIR", "XDG_CONFIG_HOME"])
def test_what_the_user_has_named_stays(temporary: Path, name: str) -> None:
    os.environ.update({"HOME": "/nonexistent", name: "/named"})
    before = dict(os.environ)
    settle_home()
    assert os.environ == before
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
def test_a_user_who_is_but_a_number_can_import_what_a_run_needs() -> None:
    """Who reads all files, as this Python may be anywhere; but writes only where everybody may."""
    program = """
import pipeline, mlflow, tempfile, os
from matplotlib import font_manager
from pathlib import Path
from kernels.cache_folder import in_own_folder
print(os.getuid(), Path.home(), in_own_folder(lambda folder: folder))
"""
    user = ["setpriv", "--reuid", NUMBER, "--regid", NUMBER, "--clear-groups"]
    user += ["--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"]
    with tempfile.TemporaryDirectory(dir="/tmp") as temporary:
        os.chmod(temporary, 0o777)
        done = subprocess.run(
            [*user, sys.executable, "-c", program],
            env={"PATH": os.environ["PATH"], "TMPDIR": temporary, "PYTHONPATH": str(ROOT)},
            cwd=temporary,
            capture_output=True,
            text=True,
        )
        made = {each for each in os.listdir(temporary) if not each.startswith("tmp")}
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [NUMBER, "/", f"{temporary}/deps-kernels-{NUMBER}"]
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert made == {f"deps-kernels-{NUMBER}", f"deps-matplotlib-{NUMBER}"}
