"""SLURM's clients are asked for what was meant, whatever a login shell or a surrounding job exports for them."""

from pathlib import Path

import pytest

from cluster.resources import Resources
from cluster.script import Start
from cluster.slurm import NoAnswerError, queued
from cluster.submit import recipes_of, submit
from cluster.testing.slurm import Slurm
from pipeline.errors import RunFailure, UsageError
from tests.slurm.jobs import Project
from tests.slurm.stand_ins import Clients
from tests.support.processes import small_run


@pytest.fixture
def project(slurm: Slurm, digits: Path, tmp_path: Path) -> Project:
    return Project(tmp_path, slurm, digits)


@pytest.mark.slurm
def test_what_a_login_shell_exports_for_the_clients_changes_nothing_that_was_asked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = {
        "SBATCH_TIMELIMIT": "5",
        "SBATCH_PARTITION": "spare",
        "SBATCH_NO_REQUEUE": "1",
        "SBATCH_JOB_NAME": "theirs",
        "SBATCH_OUTPUT": str(project.folder / "theirs.txt"),
        "SINFO_PARTITION": "spare",
        "SQUEUE_PARTITION": "spare",
    }
    for name, value in exported.items():
        monkeypatch.setenv(name, value)
    job, folder = project.submit("--time", 10, "--partition", "main", "--sbatch=--hold", nodes=1)
    shown = project.slurm.client("scontrol", "show", "job", str(job), "--oneliner").split()
    asked = {"JobName=digits", "Partition=main", "TimeLimit=00:10:00", "Requeue=1", f"StdOut={folder}/log-{job}.txt"}
    assert asked <= set(shown), shown
    [status] = project.status("digits")
    assert (status["state"], status["remark"]) == ("queued", "JobHeldUser")
    again = project.deps("submit", *small_run(project.digits, Path("runs")), "--nodes", 1, "--gpus-per-node", 0)
    assert f"is in job {job} already" in again.stderr
    project.slurm.client("scancel", str(job))


def test_a_job_that_is_submitted_from_a_job_inherits_nothing_of_it(
    clients: Clients, tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_CPU_BIND", "SLURM_CONF"):
        monkeypatch.setenv(name, "5")
    clients.print("sinfo", "main* 2 infinite\n")
    clients.does("sbatch", f"env >{tmp_path}/environment.txt; echo 6")
    assert submitted(digits, tmp_path) == 6
    inherited = [line for line in (tmp_path / "environment.txt").read_text().splitlines() if line.startswith("SLURM_")]
    assert inherited == ["SLURM_CONF=5"]


def test_the_partition_that_the_environment_asks_for_is_the_one_whose_nodes_count(
    clients: Clients, tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBATCH_PARTITION", "large")
    clients.print("sinfo", "main* 1 infinite\nlarge 8 infinite\n")
    clients.print("sbatch", "6")
    assert submitted(digits, tmp_path, Resources(2, 0, 1)) == 6


def test_several_partitions_may_be_asked_for_as_sbatch_takes_them(
    clients: Clients, tmp_path: Path, digits: Path
) -> None:
    clients.print("sinfo", "main* 1 infinite\nlarge 8 infinite\n")
    clients.print("sbatch", "6")
    with pytest.raises(UsageError, match="--partition larger: there is none of that name"):
        submitted(digits, tmp_path, Resources(2, 0, 1, partition="main,larger"))
    with pytest.raises(UsageError, match="--nodes 16: are more than partition main,large has"):
        submitted(digits, tmp_path, Resources(16, 0, 1, partition="main,large"))
    assert submitted(digits, tmp_path, Resources(2, 0, 1, partition="main,large")) == 6


def test_a_time_that_no_partition_asked_for_allows_for_is_refused_unless_a_qos_may_allow_for_it(
    clients: Clients, tmp_path: Path, digits: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM would take the job, and keep it waiting for ever."""
    clients.print("sinfo", "main* 1 30:00\nlarge 8 1-00:00:00\nlarge 2 1-00:00:00\nendless 1 infinite\n")
    clients.print("sbatch", "6")
    legal = r"there are main \(1 nodes, up to 30:00\), large \(10 nodes, up to 1-00:00:00\), endless \(1 nodes\)"
    for partition, time in ((None, "31"), ("main,large", "24:00:01")):
        asked = partition or "main"
        with pytest.raises(UsageError, match=f"--time {time}: is more than partition {asked} allows for; {legal}"):
            submitted(digits, tmp_path, Resources(1, 0, 1, time=time, partition=partition))
    for partition, time in ((None, "30"), ("main,large", "31"), ("large,endless", "9-0"), ("main", None)):
        assert submitted(digits, tmp_path, Resources(1, 0, 1, time=time, partition=partition)) == 6
    assert submitted(digits, tmp_path, Resources(1, 0, 1, time="31", further=("--qos=long",))) == 6
    monkeypatch.setenv("SBATCH_QOS", "long")
    assert submitted(digits, tmp_path, Resources(1, 0, 1, time="31")) == 6


def test_partitions_that_are_hidden_count_and_jobs_in_them(clients: Clients, tmp_path: Path, digits: Path) -> None:
    for name, answer in (("sinfo", "hidden 2 infinite"), ("squeue", "6||PENDING|0|Priority|")):
        clients.does(name, f'for option; do [ "$option" != --all ] || echo "{answer}"; done')
    clients.print("sbatch", "6")
    hidden = Resources(2, 0, 1, partition="hidden")
    assert submitted(digits, tmp_path, hidden) == 6
    with pytest.raises(UsageError, match="is in job 6 already"):
        submitted(digits, tmp_path, hidden)


def test_a_recipe_may_lie_in_a_folder_with_an_equals_sign(digits: Path, tmp_path: Path) -> None:
    recipe, *overrides = small_run(digits, tmp_path)
    folder = tmp_path / "rate=0.1"
    folder.mkdir()
    copy = folder / "digits.yaml"
    copy.write_text(Path(recipe).read_text())
    assert [each.batch_size for each in recipes_of([str(copy), *overrides], seeds=None)] == [16]


def test_a_run_that_waits_is_not_submitted_again_under_another_name_of_its_folder(
    clients: Clients, tmp_path: Path, digits: Path
) -> None:
    clients.print("sinfo", "main* 2 infinite\n")
    clients.print("sbatch", "6")
    clients.print("squeue", "6||PENDING|0|Priority|\n")
    (tmp_path / "link").symlink_to(tmp_path)
    assert submitted(digits, tmp_path) == 6
    with pytest.raises(UsageError, match="is in job 6 already"):
        submitted(digits, tmp_path / "link")


def test_a_job_whose_number_sbatch_does_not_tell_keeps_its_folder(
    clients: Clients, tmp_path: Path, digits: Path
) -> None:
    clients.print("sinfo", "main* 2 infinite\n")
    clients.print("sbatch", "Welcome to tundra\n6\n")
    with pytest.raises(RunFailure, match=r"sbatch: 'Welcome to tundra\\n6' is not what it was asked to print; squeue"):
        submitted(digits, tmp_path)
    assert len(list((tmp_path / "jobs").iterdir())) == 1


@pytest.mark.parametrize(
    "words", ["Socket timed out on send/recv operation", "Zero Bytes were transmitted or received"]
)
def test_a_job_that_the_controller_may_have_taken_keeps_its_folder(
    clients: Clients, tmp_path: Path, digits: Path, words: str
) -> None:
    clients.print("sinfo", "main* 2 infinite\n")
    clients.does("sbatch", f"echo 'sbatch: error: Batch job submission failed: {words}' >&2; exit 1")
    with pytest.raises(RunFailure, match="squeue tells whether it has the job; if not: sbatch /"):
        submitted(digits, tmp_path)
    [folder] = (tmp_path / "jobs").iterdir()
    assert (folder / "job.sh").exists()
    clients.does("squeue", f"echo 'slurm_load_jobs error: {words}' >&2; exit 1")
    with pytest.raises(NoAnswerError):
        queued()


def submitted(digits: Path, folder: Path, resources: Resources | None = None) -> int | None:
    recipes = recipes_of(small_run(digits, folder / "runs"), seeds=None)
    return submit(recipes, resources or Resources(1, 0, 2), Start(), folder / "jobs", resume=False, dry_run=False).job
