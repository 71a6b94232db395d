"""What cannot be submitted is refused in one line, before it waits in a queue for ever, and leaves nothing behind."""

import itertools
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import slurm as clients
from cluster.resources import Resources, seconds
from cluster.script import Start, render
from cluster.submit import Submission, recipes_of, submit
from cluster.testing.slurm import Slurm, running_slurm
from pipeline.errors import RunFailure, UsageError
from pipeline.recipe.reading import load_recipe
from tests.slurm.jobs import Project
from tests.support.command_line import refused
from tests.support.processes import REPOSITORY, small_run

CPUS = ["--gpus-per-node", 0, "--processes-per-node", 1]


@pytest.fixture
def project(slurm: Slurm, digits: Path, tmp_path: Path) -> Project:
    return Project(tmp_path, slurm, digits)


@pytest.mark.slurm
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--nodes", 2, "--partition", "nowhere"],
            "--partition nowhere: there is none of that name; "
            "there are main (2 nodes, up to 1:00:00), spare (2 nodes, up to 1:00:00)",
        ),
        (["--nodes", 4], "--nodes 4: are more than partition main has; there are main (2 nodes, "),
        (["--nodes", 1, "--time", 61], "--time 61: is more than partition main allows for; there are main (2 nodes, "),
        (
            ["--nodes", 1, "--sbatch=--gres=gpu:1"],
            "SLURM refuses the job: Invalid generic resource (gres) specification",
        ),
        (["--nodes", 1, "--sbatch=--nonsense"], "SLURM refuses the job: unrecognized option '--nonsense'"),
    ],
)
def test_what_slurm_cannot_run_is_refused_with_the_reason(
    project: Project, arguments: list[object], complaint: str
) -> None:
    done = project.deps("submit", *small_run(project.digits, Path("runs")), *CPUS, *arguments)
    assert complaint in refused(done)
    assert not any((project.folder / "jobs").glob("*"))


@pytest.mark.slurm
def test_a_controller_that_is_gone_is_told_in_one_line_and_status_goes_on_without_it(
    digits: Path, tmp_path: Path, slurm: Slurm
) -> None:
    with running_slurm(tmp_path / "daemons", with_accounting=False) as dying:
        project = Project(tmp_path, dying, digits)
        job, _ = project.submit("name=held", "--sbatch=--hold", nodes=1)
        [status] = project.status()
        assert (status["state"], status["job"], status["remark"]) == ("queued", str(job), "JobHeldUser")
        assert status["accounted_hours"] is None  # sacct says that accounting is disabled
        dying.controller.terminate()
        dying.controller.wait(300)
        done = project.deps("submit", *small_run(digits, Path("runs")), *CPUS, "--nodes", 1)
        line = refused(done, code=1)
        assert line.startswith("deps: sinfo: ")
        assert line.endswith("; nothing was submitted")
        done = project.deps("status", "--json")
        assert done.returncode == 0
        assert "states are what the run folders show" in refused(done, code=0)
        assert '"state": "not begun"' in done.stdout


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that wait for an answer which never comes, and are given a second."""
    for name in ("sinfo", "squeue", "sbatch"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\nexec sleep 600\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(clients, "SECONDS", 1)


def submitted(digits: Path, folder: Path, *overrides: str, resources: Resources | None = None) -> Submission:
    recipe, *ours = small_run(digits, folder / "runs")
    recipes = recipes_of([recipe, *ours, *overrides], seeds=None)
    return submit(recipes, resources or Resources(1, 0, 2), Start(), folder / "jobs", resume=False, dry_run=False)


@pytest.mark.usefixtures("hanging")
def test_a_controller_that_does_not_answer_blocks_nobody(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailure, match="sinfo: no answer from SLURM within 1 s; nothing was submitted"):
        submitted(digits, tmp_path)
    with pytest.raises(clients.NoAnswerError, match="squeue: no answer"):
        clients.queued()
    assert not (tmp_path / "jobs").exists()


def test_without_slurm_on_this_machine_it_says_so(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="sinfo: is not on the PATH of this machine; submit on a machine of the clust"):
        submitted(digits, tmp_path)
    assert not (tmp_path / "jobs").exists()


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("batch_size=15", r"batch_size: 15 cannot be split over 2 processes \(1 nodes × 2\)"),
        ("engine.name=single", "engine.name: 'single' cannot run on 2 processes; legal: ddp, fsdp, deepspeed"),
        ("data.shards=nowhere", "data.shards: .*/nowhere is no folder; pack the data first"),
        ("seeed=1", "seeed: unknown key; did you mean 'seed'"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused_before_submission(
    digits: Path, tmp_path: Path, override: str, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        submitted(digits, tmp_path, override)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"time": "soon"}, "--time soon: must be minutes, hours:minutes:seconds or days-hours:minutes:seconds"),
        ({"time": "0"}, "--time 0: must be longer than nothing"),
        ({"time": "2"}, "--time 2: must be longer than the 180 s that are left for saving"),
        (
            {"gpus_per_node": 4, "processes_per_node": 2},
            "--processes-per-node 2: there is one process for each of 4 GPUs",
        ),
        ({"further": ("exclusive",)}, "--sbatch 'exclusive': must be an option of sbatch"),
        ({"further": ("--comment=it's",)}, "--sbatch '--comment=it's': must be an option of sbatch"),
        ({"further": ("--nodes=4",)}, "--sbatch '--nodes=4': is set by deps submit; use --nodes"),
        ({"further": ("-N4",)}, "--sbatch '-N4': is set by deps submit; use --nodes"),
        ({"further": ("--part large",)}, "--sbatch '--part large': is set by deps submit; use --partition"),
        ({"further": ("--array=0-3",)}, "--sbatch '--array=0-3': is set by deps submit; use several recipes, or"),
        ({"further": ("--exclusive", "--no-requeue")}, "'--no-requeue': is set by deps submit; use --most-requeues"),
    ],
)
def test_impossible_resources_are_refused(values: dict, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Resources(**{"nodes": 1, "gpus_per_node": 0, "processes_per_node": 1, **values})


@pytest.mark.parametrize(
    ("time", "expected"),
    [("90", 5400), ("90:30", 5430), ("1:00:30", 3630), ("2-6", 194400), ("2-6:30", 196200), ("1-0:0:5", 86405)],
)
def test_a_time_limit_is_read_as_slurm_reads_it(time: str, expected: int) -> None:
    assert seconds(time) == expected


def test_seeds_are_numbers_and_runs_have_names_of_their_own(digits: Path, tmp_path: Path) -> None:
    recipe, *overrides = small_run(digits, tmp_path)
    runs = recipes_of([recipe, *overrides], seeds="0,7")
    assert [(run.name, run.seed) for run in runs] == [("digits-0", 0), ("digits-7", 7)]
    with pytest.raises(UsageError, match="--seeds 0-7: must be numbers with commas between them, such as 0,1,2"):
        recipes_of([recipe], seeds="0-7")
    with pytest.raises(UsageError, match="--seeds 1,2,01: names a seed twice"):
        recipes_of([recipe], seeds="1,2,01")
    with pytest.raises(UsageError, match="is that of two recipes; they need different names, or --seeds"):
        recipes_of([recipe, recipe], seeds=None)
    with pytest.raises(UsageError, match="needs a recipe"):
        recipes_of(["seed=1"], seeds=None)


@pytest.mark.parametrize(
    ("start", "complaint"),
    [
        ({"container": "pyxis"}, "--container, --image: go together"),
        ({"image": "training.sif"}, "--container, --image: go together"),
        (
            {"launcher": "deepspeed-slurm", "container": "pyxis", "image": "i"},
            "--launcher deepspeed-slurm: calls srun by",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(start: dict, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Start(**start)


@pytest.mark.parametrize(
    ("launcher", "container"),
    [*itertools.product(["deepspeed", "srun"], ["none", "pyxis", "apptainer"]), ("deepspeed-slurm", "none")],
)
def test_every_script_is_shell_that_parses_and_asks_for_what_was_given(launcher, container) -> None:
    start = Start(launcher, container, None if container == "none" else "an image.sif")
    resources = Resources(2, 8, 8, 12, "1-0", 300, "large", "team", ("--exclusive",))
    script = render(
        start,
        resources,
        Path("/shared/jobs/a"),
        "a",
        [Path("/runs/a"), Path("/runs/b")],
        [Path("/shared/data")],
        [Path("/shared/jobs"), Path("/runs")],
    )
    checked = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    asked = [line.removeprefix("#SBATCH ") for line in script.splitlines() if line.startswith("#SBATCH ")]
    tasks, cpus = (1, 96) if launcher == "deepspeed" else (8, 12)
    assert set(asked) >= {
        "--nodes=2",
        f"--ntasks-per-node={tasks}",
        f"--cpus-per-task={cpus}",
        "--gpus-per-node=8",
        "--time=1-0",
        "--partition=large",
        "--account=team",
        "--exclusive",
        "--array=0-1",
        "--signal=B:USR1@300",
        "--requeue",
    }
    assert ("'an image.sif'" in script) == (container != "none")


def test_a_folder_that_the_shell_or_sbatch_would_read_otherwise_is_refused() -> None:
    with pytest.raises(UsageError, match="may have letters, digits and"):
        render(Start(), Resources(1, 8, 8), Path("/shared/50% done"), "a", [Path("/runs/a")], [], [])


@pytest.mark.parametrize("container", ["pyxis", "apptainer"])
def test_a_container_sees_all_folders_that_a_run_reads_and_writes(
    container: Any, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe, *overrides = small_run(digits, Path("runs"))

    def script(tracking: str) -> str:
        recipes = recipes_of([recipe, *overrides, f"tracking={tracking}"], seeds=None)
        start = Start("srun", container, "training.sif")
        return submit(recipes, Resources(1, 0, 1), start, Path("jobs"), resume=False, dry_run=True).script

    def mounts(*folders: Path) -> str:
        return ",".join(f"{folder}:{folder}" for folder in sorted(folders))

    ours = [tmp_path / name for name in ("jobs", "mlruns", "runs")]
    here = script("{mlflow: true}")
    assert mounts(digits, *ours) in here
    assert f"mkdir -p {' '.join(map(str, ours))} " in here
    elsewhere = mounts(digits, tmp_path / "jobs", tmp_path / "runs")
    for tracking in ("{mlflow: true, uri: 'http://server'}", "{mlflow: false}"):
        assert elsewhere in script(tracking)


def test_a_dry_run_shows_the_script_and_writes_nothing(digits: Path, tmp_path: Path) -> None:
    recipe, *overrides = small_run(digits, tmp_path / "runs")
    recipes = recipes_of([recipe, *overrides], seeds=None)
    done = submit(recipes, Resources(2, 8, 8), Start(), tmp_path / "jobs", resume=False, dry_run=True)
    assert done.job is None
    assert "srun --wait=60" in done.script
    assert not list(tmp_path.iterdir())


def test_the_recipe_in_the_folder_means_the_same_from_anywhere(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    [recipe] = recipes_of([str(REPOSITORY / "recipes" / "digits.yaml")], seeds=None)
    assert recipe.folder == tmp_path / "runs" / "digits"
    assert recipe.data.shards == tmp_path / "data" / "digits"
    assert recipe.tracking.uri == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    plain = load_recipe(REPOSITORY / "recipes" / "digits.yaml")
    assert (recipe.schedule, recipe.space) == (plain.schedule, plain.space)
    assert yaml.safe_dump(recipe.model_dump(mode="json"))
