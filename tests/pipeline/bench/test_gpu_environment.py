"""The environment of `make gpu`: whose torch it has, where packages come from, and what is said without a GPU."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from pipeline.bench.suite import environment

SCRIPT = Path(environment.__file__)
PINNED = "torch==2.13.0\nnumpy==2.4.6\ntriton==3.9.0\ntorchfoo==1.0\n"


@pytest.mark.parametrize("wheels", [[], ["nowhere"]])
def test_without_a_gpu_that_is_all_it_says_and_nothing_is_made(wheels: list[str], tmp_path: Path) -> None:
    if environment.has_gpu():
        pytest.skip("there is a GPU")
    folder = tmp_path / "environment"
    command = [sys.executable, "-I", str(SCRIPT), str(folder), *wheels]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": ""})
    assert done.returncode == 2
    assert done.stderr.startswith("make gpu: needs an NVIDIA GPU")
    assert len(done.stderr.splitlines()) == 1
    assert not folder.exists()


def test_wheels_that_are_nowhere_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(environment, "has_gpu", lambda: True)
    assert environment.main(["environment", "nowhere"]) == 2
    assert capsys.readouterr().err == "make gpu: WHEELS: nowhere is no folder\n"


def test_a_torch_that_is_there_stays_with_its_triton_and_the_rest_is_pinned() -> None:
    kept = environment.constraints_beside({"torch": "2.11.0+cu128", "triton": "3.6.0"}, PINNED)
    assert kept == ["numpy==2.4.6", "torchfoo==1.0", "torch==2.11.0+cu128", "triton==3.6.0"]
    assert environment.constraints_beside({"torch": "2.11.0"}, PINNED) == [*kept[:2], "torch==2.11.0"]
    assert environment.constraints_beside({}, PINNED) == PINNED.splitlines()


def wheel(folder: Path) -> None:
    """A package `tiny`, which no index has in this version."""
    about = "tiny-77.0.dist-info"
    with zipfile.ZipFile(folder / "tiny-77.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 77.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")


@pytest.mark.faults
def test_an_environment_beside_a_torch_imports_it_and_gets_the_rest_from_a_folder(tmp_path: Path) -> None:
    """The Python of these tests is an environment itself, whose packages another one of it would not see."""
    folder, constraints = tmp_path / "environment", tmp_path / "constraints.txt"
    constraints.write_text("")
    wheel(tmp_path)
    environment.create(folder, sees_all=True)
    subprocess.run(environment.pip(folder, constraints, tmp_path, ["tiny"]), check=True)
    asked = "from importlib.util import find_spec; print(*(find_spec(name).origin for name in ('torch', 'tiny')))"
    command = [folder / "bin" / "python", "-c", asked]
    found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.split()
    assert found[0] == torch.__file__
    assert Path(found[1]).is_relative_to(folder)
    elsewhere = environment.pip(folder, constraints, tmp_path, ["cowsay"])  # which an index has
    assert subprocess.run(elsewhere, capture_output=True).returncode != 0
