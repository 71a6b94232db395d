"""`deps compare --submit` on a SLURM: one array of the runs that are missing, and the page once they have ended."""

import json
import re
from pathlib import Path

import pytest

from cluster.testing.slurm import Slurm
from tests.slurm.jobs import Project
from tests.support.processes import small_run

pytestmark = [pytest.mark.slurm, pytest.mark.distributed, pytest.mark.faults]

ON = "--nodes 1 --gpus-per-node 0 --processes-per-node 1 --launcher srun"


def test_one_array_trains_what_is_missing_and_the_same_command_writes_the_page_then(
    slurm: Slurm, digits: Path, tmp_path: Path
) -> None:
    project = Project(tmp_path, slurm, digits)
    recipe, *overrides = small_run(digits, Path("runs"))
    overrides = [each for each in overrides if not each.startswith(("name=", "runs="))] + ["engine={name: single}"]
    vary = ["--vary", "schedule.random_subnets=1,2", "--seeds", 2, "--output", "compared"]
    command = ["compare", recipe, *overrides, *vary]

    submitted = project.deps(*command, "--submit", ON)
    assert submitted.returncode == 0, submitted.stderr
    [job] = {int(found) for found in re.findall(r"\b(?:job|array) (\d+)", submitted.stdout)}
    project.wait_for_end(job, "COMPLETED")
    runs = sorted(path.parent for path in tmp_path.glob("compared/runs/*/supernet.safetensors"))
    assert len(runs) == 4

    written = project.deps(*command, "--json")
    assert written.returncode == 0, written.stderr
    assert "training" not in written.stderr  # nothing was left to train
    page = (tmp_path / "compared" / "compare.md").read_text()
    assert all(run.name in page for run in runs)
    assert {"compare.html", "compare.md"} <= {Path(each).name for each in json.loads(written.stdout)["pages"]}
