"""The batch script by itself, with stand-ins for SLURM's clients."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster.job_folder import ends
from cluster.resources import Resources
from cluster.script import Start, render
from tests.slurm.jobs import wait_until
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


def started_script(folder: Path) -> subprocess.Popen[str]:
    """Start the script of job 7, on one node, whose notes and run are in `folder`."""
    script = render(Start("srun"), Resources(1, 0, 1), folder, "run", [folder / "run"], [], [])
    (folder / "job.sh").write_text(script)
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1", "SLURM_CPUS_PER_TASK": "1"}
    return subprocess.Popen(["bash", folder / "job.sh"], env={**os.environ, **job}, text=True)


def exit_code_of_script(folder: Path) -> int:
    with started_script(folder) as script:
        return script.wait(timeout=900)


def test_where_the_exit_code_cannot_be_written_down_the_start_has_failed(clients: Clients, tmp_path: Path) -> None:
    """As on a full disk; a note without an exit code could not be read again."""
    clients.does("srun", "exit 138")
    clients.does("scontrol", "echo NodeAddr=127.0.0.1")
    (tmp_path / "exit-code-7.txt").mkdir()
    assert exit_code_of_script(tmp_path) == 1
    assert [(end.exit_code, end.words) for end in ends(tmp_path)] == [(1, "failed")]


@pytest.fixture
def words(clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """What is noted of a run that saved and left, by what scontrol does when it is to requeue, to ping, or to show."""

    def run(requeue: str, ping: str = "exit 0", show: str = "NodeAddr=127.0.0.1") -> list[str]:
        monkeypatch.chdir(tmp_path)
        clients.does("srun", "exit 138")
        clients.does("sleep", "exec /bin/sleep 0.1")  # between tries
        clients.does("scontrol", f'case "$1" in requeue) {requeue} ;; ping) {ping} ;; *) echo {show} ;; esac')
        assert exit_code_of_script(tmp_path) == 138
        noted = ends(tmp_path)
        assert {end.exit_code for end in noted} == {138}
        return [end.words for end in noted]

    return run


# SLURM has queued it again, and ends script and client (which `timeout` runs) before the client has heard of it.
ENDED = "kill $(ps -o ppid= $PPID); kill $PPID; exec /bin/sleep 60"


@pytest.mark.parametrize(
    ("answer", "noted"),
    [
        ("exit 0", ["requeued"]),
        ("mkdir asked || exit 0; echo 'Unable to contact slurm controller'; exit 1", ["requeued"]),
        ("exit 1", ["requeued", "stopped: SLURM did not requeue it"]),
        (ENDED, ["requeued"]),
    ],
    ids=["taken", "at the second try", "refused", "taken, and the client ended by it"],
)
def test_what_is_noted_of_a_run_that_saved_and_left(
    words: Callable[..., list[str]], answer: str, noted: list[str]
) -> None:
    assert words(answer) == noted


def test_a_controller_that_is_away_is_waited_for(words: Callable[..., list[str]], tmp_path: Path) -> None:
    ping = "echo >>pings; [ $(wc -l <pings) -lt 12 ] || touch back; exit 1"
    assert words("[ -e back ]", ping) == ["requeued"]
    assert (tmp_path / "pings").read_text().count("\n") == 12


def test_a_run_whose_time_is_up_while_it_asks_to_be_queued_again_asks_once_more(
    words: Callable[..., list[str]], tmp_path: Path
) -> None:
    requeue = f"mkdir asked || exec touch taken; {ENDED}"
    assert words(requeue, show="NodeAddr=127.0.0.1 Reason=TimeLimit") == ["requeued"]
    assert (tmp_path / "taken").exists()


@pytest.mark.parametrize(
    ("reason", "noted"),
    [("None", "stopped by SIGTERM"), ("TimeLimit", "requeued")],
    ids=["cancelled", "out of time"],
)
def test_a_run_that_is_told_to_end_while_it_saves_is_queued_again_unless_it_was_cancelled(
    clients: Clients, tmp_path: Path, reason: str, noted: str
) -> None:
    clients.does("srun", f"touch {tmp_path}/saving; until [ -e {tmp_path}/told ]; do sleep 0.1; done; exit 138")
    clients.does("scontrol", f'[ "$1" = requeue ] || echo "JobState=COMPLETING Reason={reason}" NodeAddr=127.0.0.1')
    with started_script(tmp_path) as script:
        wait_until((tmp_path / "saving").exists)
        script.terminate()
        (tmp_path / "told").touch()
        assert script.wait(timeout=900) == 138
    assert [(end.exit_code, end.words) for end in ends(tmp_path)] == [(138, noted)]
