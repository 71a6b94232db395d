"""The batch script by itself, with stand-ins for SLURM's clients."""

import os
import subprocess
from pathlib import Path

import pytest

from cluster.job_folder import ends
from cluster.resources import Resources
from cluster.script import Start, render
from tests.slurm.stand_ins import Clients


def test_an_image_that_is_a_file_here_is_found_from_the_jobs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "training.sif").touch()
    folder = tmp_path / "job"
    for image, written in (("training.sif", f"{tmp_path}/training.sif"), ("docker://site/training", None)):
        start = Start("srun", "apptainer", image)
        script = render(start, Resources(1, 0, 1), folder, "run", [tmp_path / "run"], [], [])
        assert f"    {written or image}\n" in script


def test_where_the_exit_code_cannot_be_written_down_the_start_has_failed(clients: Clients, tmp_path: Path) -> None:
    """As on a full disk; a note without an exit code could not be read again."""
    clients.does("srun", "exit 138")
    clients.does("scontrol", "echo NodeAddr=127.0.0.1")
    (tmp_path / "exit-code-7.txt").mkdir()
    script = render(Start("srun"), Resources(1, 0, 1), tmp_path, "run", [tmp_path / "run"], [], [])
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1", "SLURM_CPUS_PER_TASK": "1"}
    done = subprocess.run(
        ["bash"], input=script, env={**os.environ, **job}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 1
    assert [(end.exit_code, end.words) for end in ends(tmp_path)] == [(1, "failed")]
