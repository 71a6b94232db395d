"""`deps status`: what SLURM says of a job, what its script noted, and what the run's folder shows, put together."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from cluster import slurm
from cluster.cli import status_command
from cluster.status import Status, status
from pipeline.errors import UsageError
from tests.pipeline.run.test_status import write_run
from tests.slurm.stand_ins import MIDNIGHT, Clients, make_job


def only(folder: Path, *runs: Path) -> Status:
    found = status(runs, folder / "runs", folder / "jobs")
    assert (found.unreadable, found.no_answer) == ((), None)
    [only_one] = found.found
    return only_one


@pytest.mark.parametrize(
    ("squeue", "sacct", "noted", "expected"),
    [
        ("7||PENDING|0|Resources|", "", "", ("queued", "7", "Resources")),
        ("7||PENDING|2|BeginTime|", "", "7 0 1 138 9 requeued\n", ("requeued", "7", "BeginTime")),
        ("7||RUNNING|2|None|", "", "7 0 1 138 9 requeued\n", ("running", "7", "requeued 2×")),
        # Held for an administrator, and being told of a signal.
        ("7||SPECIAL_EXIT|1|job requeued in held state|", "", "", ("requeued", "7", "job requeued in held state")),
        ("7||SIGNALING|0|None|", "", "", ("running", "7", "")),
        ("7||FAILED|0|NonZeroExitCode|", "", "7 0 0 1 9 failed\n", ("failed", "7", "exit code 1")),
        ("7||TIMEOUT|0|TimeLimit|", "", "", ("failed", "7", "timeout")),
        ("7||CANCELLED|0|None|", "", "7 0 0 143 9 stopped by SIGTERM\n", ("stopped", "7", "cancelled")),
        ("", f"7|NODE_FAIL|{MIDNIGHT + 7}|2000|1\n", "", ("failed", "7", "node fail")),
        ("", f"7|CANCELLED by 1000|{MIDNIGHT + 7}|2000|1\n", "", ("stopped", "7", "cancelled")),
        ("", "", "7 0 0 2 9 failed\n", ("failed", "7", "exit code 2")),
        (
            "",
            "",
            "7 0 3 138 9 stopped: not requeued: --most-requeues is 3\n",
            ("stopped", "7", "not requeued: --most-requeues is 3"),
        ),
        ("", "", "", ("stopped", "7", "")),
        # What another job noted, or SLURM says of it, is nothing to this one.
        ("8||RUNNING|0|None|", "", "6 0 0 1 9 failed\n", ("stopped", "7", "")),
    ],
)
def test_the_state_of_a_run_half_way(
    clients: Clients, tmp_path: Path, squeue: str, sacct: str, noted: str, expected: tuple[str, str, str]
) -> None:
    (tmp_path / "runs").mkdir()
    run = write_run(tmp_path / "runs" / "run", step=5)
    make_job(tmp_path, 7, run, noted=noted)
    clients.print("squeue", f"{squeue}\n" if squeue else "")
    clients.print("sacct", sacct)
    found = only(tmp_path)
    assert (found.state, found.job, found.remark) == expected
    assert found.run.step == 5


def test_a_finished_run_is_finished_whatever_is_said_of_its_job(clients: Clients, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    run = write_run(tmp_path / "runs" / "run", step=20)
    (run / "supernet.safetensors").touch()
    (run / "supernet.json").write_text("{}")
    make_job(tmp_path, 7, run)
    clients.print("squeue", "7||CANCELLED|0|None|\n")
    assert only(tmp_path).state == "finished"


def test_the_newest_job_of_a_run_counts_and_each_task_of_an_array_is_a_run(clients: Clients, tmp_path: Path) -> None:
    one, other = tmp_path / "runs" / "one", tmp_path / "runs" / "other"
    make_job(tmp_path, 8, one, other)
    make_job(tmp_path, 7, one, noted="7 0 0 1 9 failed\n")
    clients.print("squeue", "8|0|RUNNING|0|None|\n8|1|PENDING|0|Priority|\n7||FAILED|0|None|\n")
    found = status([], tmp_path / "runs", tmp_path / "jobs").found
    assert [(each.run.folder.name, each.state, each.job) for each in found] == [
        ("one", "running", "8_0"),
        ("other", "queued", "8_1"),
    ]


def test_runs_that_were_never_submitted_need_no_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "runs").mkdir()
    run = write_run(tmp_path / "runs" / "run", step=5)
    assert only(tmp_path, run) == only(tmp_path)
    assert (only(tmp_path).state, only(tmp_path).job) == ("stopped", "")
    with pytest.raises(UsageError, match="nowhere: is no run folder and holds none, and no job in"):
        only(tmp_path, tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("command", "seconds", "complaint"),
    [
        ("exec sleep 600", 1, "squeue: no answer from SLURM within 1 s; states are what the run folders show"),
        (
            "echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
            60,
            "squeue: slurm_load_jobs error: Unable to contact slurm controller (connect failure); "
            "states are what the run folders show",
        ),
    ],
)
def test_without_an_answer_the_folders_are_shown_and_why(
    clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, seconds: int, complaint: str
) -> None:
    monkeypatch.setattr(slurm, "SECONDS", seconds)
    (tmp_path / "runs").mkdir()
    make_job(tmp_path, 7, write_run(tmp_path / "runs" / "run", step=5))
    clients.does("squeue", command)
    told = status([], tmp_path / "runs", tmp_path / "jobs")
    assert told.no_answer == complaint
    assert [(found.state, found.run.step) for found in told.found] == [("stopped", 5)]


def test_where_there_is_no_accounting_the_script_has_the_last_word(clients: Clients, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    make_job(tmp_path, 7, write_run(tmp_path / "runs" / "run", step=5), noted="7 0 0 1 9 failed\n")
    clients.does("sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    assert only(tmp_path).state == "failed"


@pytest.mark.parametrize("spelt", ["link/run", "jobs/../runs/run"])
def test_a_run_is_found_by_every_name_of_its_folder(clients: Clients, tmp_path: Path, spelt: str) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    make_job(tmp_path, 7, write_run(tmp_path / "runs" / "run", step=5))
    clients.print("squeue", "7||PENDING|0|Priority|\n")
    found = only(tmp_path, tmp_path / spelt)
    assert (found.state, found.job, found.remark) == ("queued", "7", "Priority")
    assert [each.job for each in status([], tmp_path / "link", tmp_path / "jobs").found] == ["7"]


@pytest.mark.parametrize(
    ("client", "line", "complaint"),
    [
        ("squeue", "CLUSTER: tundra", "squeue: 'CLUSTER: tundra' is not what it was asked to print; states are what"),
        ("sacct", "7|RUNNING|Unknown|5|1", "sacct: '7|RUNNING|Unknown|5|1' is not what it was asked to print; jobs"),
        ("sacct", "7||1795392007|5|1", "sacct: '7||1795392007|5|1' is not what it was asked to print; jobs that have"),
    ],
)
def test_a_client_that_prints_something_else_is_told_of(
    clients: Clients, tmp_path: Path, client: str, line: str, complaint: str
) -> None:
    (tmp_path / "runs").mkdir()
    make_job(tmp_path, 7, write_run(tmp_path / "runs" / "run", step=5))
    clients.print(client, f"{line}\n")
    told = status([], tmp_path / "runs", tmp_path / "jobs")
    assert told.no_answer is not None
    assert told.no_answer.startswith(complaint)
    assert [(found.state, found.job) for found in told.found] == [("stopped", "7")]


@pytest.mark.parametrize("line", ["7 0 0 13", "7 0 0  1795392000 failed", "\0\0\0", ""])
def test_a_damaged_note_of_an_end_is_named(clients: Clients, tmp_path: Path, line: str) -> None:
    make_job(tmp_path, 7, tmp_path / "runs" / "run", noted=f"7 0 0 138 9 requeued\n{line}\n")
    clients.print("squeue", "7||RUNNING|1|None|\n")
    told = status([], tmp_path / "runs", tmp_path / "jobs")
    [complaint] = told.unreadable
    assert complaint.endswith("is not the end of a start; correct or remove the line")
    assert [(found.state, found.job) for found in told.found] == [("running", "7")]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("job", "five", "job: Input should be a valid integer.*"),
        ("runs", None, "runs: Input should be a valid tuple"),
        ("nodes", 0, "nodes: Input should be greater than or equal to 1"),
        ("submitted", "yesterday", "submitted: .*Invalid isoformat string: 'yesterday'"),
    ],
)
def test_a_damaged_record_is_named(clients: Clients, tmp_path: Path, key: str, value: Any, reason: str) -> None:
    make_job(tmp_path, 7, tmp_path / "runs" / "run")
    record = tmp_path / "jobs" / "job-7" / "job.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), key: value}))
    [complaint] = status([], tmp_path / "runs", tmp_path / "jobs").unreadable
    assert re.search(rf"job-7/job.json: is no record of a job \({reason}\); remove its folder", complaint)
    record.write_text(record.read_text()[:-3])
    [complaint] = status([], tmp_path / "runs", tmp_path / "jobs").unreadable
    assert re.search(r"job-7/job.json: is no record of a job \(.*\); remove its folder", complaint)


def test_damage_hides_only_what_it_is_in(
    clients: Clients, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    for number, name in enumerate(("whole", "of_no_job", "without_a_description", "without_a_ledger"), start=6):
        make_job(tmp_path, number, write_run(tmp_path / "runs" / name, step=5))
    for damaged in ("jobs/job-7/job.json", "runs/without_a_description/run.json", "runs/without_a_ledger/ledger.json"):
        Path(damaged).write_text("{")
    with pytest.raises(typer.Exit) as ended:
        status_command(as_json=True)
    assert ended.value.exit_code == 2
    shown = capsys.readouterr()
    assert [(run["name"], run["job"]) for run in json.loads(shown.out)] == [("of_no_job", None), ("whole", "6")]
    assert [line.split(": ")[1].split("/")[-1] for line in shown.err.splitlines()] == [
        "job.json",
        "run.json",
        "ledger.json",
    ]


def test_where_all_is_damaged_nobody_is_told_that_there_is_nothing(
    clients: Clients, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_job(tmp_path, 7, tmp_path / "runs" / "run")
    (tmp_path / "jobs" / "job-7" / "job.json").write_text("{")
    with pytest.raises(typer.Exit) as ended:
        status_command(runs_folder=tmp_path / "runs", jobs=tmp_path / "jobs")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().out == ""
