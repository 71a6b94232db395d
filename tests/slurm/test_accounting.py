"""`deps status` beside SLURM's accounting: what SLURM counts of a run, and where the run's ledger counts otherwise."""

import json
from pathlib import Path

import pytest

from cluster import slurm
from cluster.cli import status_command
from cluster.status import Status, status
from pipeline.run.layout import METRICS
from pipeline.tracking.metrics import MetricsLog
from tests.pipeline.run.test_status import write_run
from tests.slurm.stand_ins import MIDNIGHT, Clients, make_job

Row = tuple[str, str, int]  # job, state, seconds


def sacct(*rows: Row, since: int = MIDNIGHT + 10) -> str:
    """What sacct prints of starts on two nodes, each submitted 1000 s after the one before."""
    lines = (f"{job}|{state}|{since + 1000 * row}|{seconds}|2\n" for row, (job, state, seconds) in enumerate(rows))
    return "".join(lines)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose ledger counts 1000 s on each of two processes."""
    (tmp_path / "runs").mkdir()
    return write_run(tmp_path / "runs" / "run", step=5)


def finish(run: Path) -> None:
    (run / "supernet.safetensors").touch()
    (run / "supernet.json").write_text("{}")
    log = MetricsLog(run / METRICS)
    log.log(20, {"loss/full": 1.0})
    log.close()


def only(folder: Path) -> Status:
    found = status([folder / "runs" / "run"], folder / "runs", folder / "jobs")
    assert (found.unreadable, found.no_answer) == ((), None)
    [only_one] = found.found
    return only_one


@pytest.mark.parametrize(
    ("rows", "seconds", "remark"),
    [
        ([("7", "COMPLETED", 1000)], 1000, ""),
        # Each start of a job that was requeued counts.
        ([("7", "REQUEUED", 400), ("7", "NODE_FAIL", 500), ("7", "COMPLETED", 100)], 1000, ""),
        # Within 1 %, and beyond.
        ([("7", "COMPLETED", 1010)], 1010, ""),
        ([("7", "COMPLETED", 991)], 991, ""),
        ([("7", "COMPLETED", 1012)], 1012, "SLURM counts 0.562 h"),
        ([("7", "COMPLETED", 900)], 900, "SLURM counts 0.500 h"),
        ([("7", "CANCELLED by 1000", 0)], 0, "SLURM counts 0.000 h"),
        # A start that SLURM ends counts up to the order; its nodes are held while its processes save and leave.
        ([("7", "CANCELLED by 1000", 967)], 967, ""),
        ([("7", "CANCELLED by 1000", 950)], 950, "SLURM counts 0.528 h"),
        ([("7", "PREEMPTED", 300), ("7", "TIMEOUT", 631)], 931, ""),
        ([("7", "REQUEUED", 900), ("7", "COMPLETED", 67)], 967, ""),  # by an administrator, say
        ([("7", "CANCELLED by 1000", 1015)], 1015, "SLURM counts 0.564 h"),
        # Four seconds of each start are no contradiction; waiting is no start.
        ([("7", "REQUEUED", 500), ("7", "REQUEUED", 300), ("7", "COMPLETED", 211)], 1011, ""),
        ([("7", "REQUEUED", 500), ("7", "REQUEUED", 300), ("7", "COMPLETED", 213)], 1013, "SLURM counts 0.563 h"),
        ([("7", "REQUEUED", 1011), ("7", "REQUEUED", 0), ("7", "CANCELLED", 0)], 1011, "SLURM counts 0.562 h"),
        # Other tasks of the array, and other jobs, are other runs.
        ([("7_0", "COMPLETED", 1000), ("7_1", "COMPLETED", 70), ("7_[2-3%1]", "CANCELLED", 0)], 1000, ""),
        ([("7", "COMPLETED", 1000), ("77", "COMPLETED", 70)], 1000, ""),
    ],
)
def test_hours_are_those_of_all_starts_and_a_ledger_that_counts_otherwise_is_told(
    clients: Clients, tmp_path: Path, run: Path, rows: list[Row], seconds: int, remark: str
) -> None:
    finish(run)
    make_job(tmp_path, 7, run, nodes=2, processes=2)
    clients.print("sacct", sacct(*rows))
    found = only(tmp_path)
    assert found.run.hours == pytest.approx(2 * 1000 / 3600)
    assert found.accounted_hours == pytest.approx(2 * seconds / 3600)
    assert (found.state, found.remark) == ("finished", remark)


def test_processes_are_counted_by_the_nodes_that_slurm_gave(clients: Clients, tmp_path: Path, run: Path) -> None:
    """The script may have been given other options by hand."""
    make_job(tmp_path, 7, run, nodes=1, processes=8)
    clients.print("sacct", sacct(("7", "COMPLETED", 1000)))
    found = only(tmp_path)
    assert found.accounted_hours == pytest.approx(2 * 8 * 1000 / 3600)
    assert found.remark == "completed; SLURM counts 4.444 h"


def test_all_jobs_of_a_run_count_and_its_script_submitted_once_more(
    clients: Clients, tmp_path: Path, run: Path
) -> None:
    finish(run)
    make_job(tmp_path, 7, run, nodes=2, processes=2, noted="7 0 0 143 9 stopped by SIGTERM\n9 0 0 1 9 failed\n")
    make_job(tmp_path, 8, run, nodes=1, processes=1)
    clients.print("sacct", sacct(("7", "CANCELLED", 500), ("9", "FAILED", 300), ("8", "COMPLETED", 200)))
    found = only(tmp_path)
    assert found.accounted_hours == pytest.approx(2 * 1000 / 3600)
    assert found.remark == ""
    clients.print("sacct", sacct(("7", "CANCELLED", 500), ("8", "COMPLETED", 200)))  # no longer knows the other
    found = only(tmp_path)
    assert (found.accounted_hours, found.remark) == (None, "")


def test_each_task_of_an_array_is_a_run(clients: Clients, tmp_path: Path, run: Path) -> None:
    runs = [run, *(write_run(tmp_path / "runs" / f"{place}", step=5) for place in (1, 2, 3, 4))]
    make_job(tmp_path, 7, *runs, nodes=2, processes=2)
    # Tasks that were cancelled while they waited have one line together; one at a time was to run.
    rows = [("7_0", "FAILED", 1000), ("7_1", "FAILED", 600), ("7_3", "FAILED", 1000), ("7_[2-4:2%1]", "CANCELLED", 0)]
    clients.print("sacct", sacct(*rows))
    found = status(runs, tmp_path / "runs", tmp_path / "jobs").found
    assert [each.accounted_hours for each in found] == pytest.approx([2000 / 3600, 1200 / 3600, 0, 2000 / 3600, 0])
    assert [each.remark for each in found] == [
        "failed",
        "failed; SLURM counts 0.333 h",
        "cancelled; SLURM counts 0.000 h",
        "failed",
        "cancelled; SLURM counts 0.000 h",
    ]


def test_the_newest_start_of_a_job_tells_its_state_wherever_its_line_is(
    clients: Clients, tmp_path: Path, run: Path
) -> None:
    make_job(tmp_path, 7, run, nodes=2, processes=2)
    first, newest = sacct(("7", "NODE_FAIL", 400), ("7", "CANCELLED", 600)).splitlines(keepends=True)
    clients.print("sacct", newest + first)
    assert (only(tmp_path).state, only(tmp_path).remark) == ("stopped", "cancelled")


@pytest.mark.parametrize(
    ("queue", "rows", "state", "remark"),
    [
        ("RUNNING|1|None|", [("7", "REQUEUED", 900), ("7", "RUNNING", 900)], "running", "requeued 1×"),
        # The accounting lags behind the queue, at the start and at the end.
        ("RUNNING|1|None|", [("7", "REQUEUED", 900), ("7", "PENDING", 0)], "running", "requeued 1×"),
        ("CANCELLED|1|None|", [("7", "REQUEUED", 900), ("7", "RUNNING", 900)], "stopped", "cancelled"),
        # Between two starts all is at rest.
        ("PENDING|1|BeginTime|", [("7", "REQUEUED", 900)], "requeued", "BeginTime; SLURM counts 0.500 h"),
        ("PENDING|1|BeginTime|", [("7", "REQUEUED", 1001)], "requeued", "BeginTime"),
    ],
)
def test_what_still_counts_is_not_compared(
    clients: Clients, tmp_path: Path, run: Path, queue: str, rows: list[Row], state: str, remark: str
) -> None:
    make_job(tmp_path, 7, run, nodes=2, processes=2)
    clients.print("squeue", f"7||{queue}\n")
    clients.print("sacct", sacct(*rows))
    found = only(tmp_path)
    assert found.accounted_hours == pytest.approx(2 * sum(seconds for _, _, seconds in rows) / 3600)
    assert (found.state, found.remark) == (state, remark)


def test_an_older_job_whose_number_was_given_out_again_is_another(clients: Clients, tmp_path: Path, run: Path) -> None:
    finish(run)
    make_job(tmp_path, 7, run, nodes=2, processes=2)
    old = sacct(("7", "COMPLETED", 5000), since=MIDNIGHT - 86400)
    clients.print("sacct", old)
    assert (only(tmp_path).accounted_hours, only(tmp_path).remark) == (None, "")
    clients.print("sacct", sacct(("7", "COMPLETED", 1000)) + old)
    assert only(tmp_path).accounted_hours == pytest.approx(2 * 1000 / 3600)


def test_a_run_that_has_no_ledger_yet_has_hours_all_the_same(clients: Clients, tmp_path: Path) -> None:
    """Its job may have failed before it got that far."""
    make_job(tmp_path, 7, tmp_path / "runs" / "run", nodes=2, processes=2, noted="7 0 0 2 9 failed\n")
    clients.print("sacct", sacct(("7", "FAILED", 18)))
    found = only(tmp_path)
    assert (found.state, found.remark, found.run.hours) == ("failed", "exit code 2", None)
    assert found.accounted_hours == pytest.approx(2 * 18 / 3600)


@pytest.mark.parametrize(
    "answer",
    [
        "echo 'Slurm accounting storage is disabled' >&2; exit 1",
        "echo 'sacct: error: Problem talking to the database: Connection refused' >&2; exit 1",
        "exit 0",  # knows nothing of the job
    ],
)
def test_without_accounting_there_are_no_hours_and_no_complaint(
    clients: Clients, tmp_path: Path, run: Path, answer: str
) -> None:
    make_job(tmp_path, 7, run)
    clients.does("sacct", answer)
    assert (only(tmp_path).accounted_hours, only(tmp_path).remark) == (None, "")


def test_accounting_that_does_not_answer_leaves_the_queue_its_word(
    clients: Clients, tmp_path: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "SECONDS", 10)  # squeue has to answer
    make_job(tmp_path, 7, run)
    clients.print("squeue", "7||PENDING|0|Priority|\n")
    clients.does("sacct", "exec sleep 600")
    told = status([run], tmp_path / "runs", tmp_path / "jobs")
    assert told.no_answer == (
        "sacct: no answer from SLURM within 10 s; jobs that have left the queue are what the run folders show"
    )
    [found] = told.found
    assert (found.state, found.remark, found.accounted_hours) == ("queued", "Priority", None)


def test_the_table_has_a_column_where_a_run_has_hours_and_json_always(
    clients: Clients, tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(as_json: bool) -> str:
        status_command([run], runs_folder=tmp_path / "runs", jobs=tmp_path / "jobs", as_json=as_json)
        return capsys.readouterr().out

    make_job(tmp_path, 7, run, nodes=2, processes=2)
    assert "by SLURM" not in shown(as_json=False)
    assert json.loads(shown(as_json=True))[0]["accounted_hours"] is None
    clients.print("sacct", sacct(("7", "CANCELLED", 2700)))
    heading, row = (shown(as_json=False).splitlines()[line] for line in (2, 4))
    assert heading.index("cost so far") < heading.index("by SLURM") < heading.index("expected")
    assert row.index("0.556 GPU hours") < row.index("1.500 ") < row.index("cancelled; SLURM counts 1.500 h")
    assert json.loads(shown(as_json=True))[0]["accounted_hours"] == pytest.approx(1.5)
