"""`deps status` finds runs in the folders that it is given, and tells what became of their files."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.store import save_supernet
from pipeline.tracking.metrics import MetricsLog
from tests.pipeline.run.test_status import write_run
from tests.support.command_line import Done, deps, refused


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def status(place: Path, *arguments: object) -> tuple[Done, list[dict[str, Any]]]:
    done = deps("status", *arguments, "--json", cwd=place)
    return done, json.loads(done.stdout) if done.stdout else []


def test_a_folder_of_runs_lists_them(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    for name, step in (("b", 5), ("a", 7)):
        write_run(tmp_path / "sweep" / name, step)
    (tmp_path / "sweep" / "notes").mkdir()
    done, runs = status(tmp_path, "sweep")
    assert (done.returncode, done.stderr) == (0, "")
    assert [(run["name"], run["step"]) for run in runs] == [("a", 7), ("b", 5)]
    _, runs = status(tmp_path, "sweep/b", "sweep", "sweep/../sweep/a")
    assert [run["name"] for run in runs] == ["b", "a"], "each once"


@pytest.mark.parametrize("kind", ["empty", "missing", "a file"])
def test_what_is_no_run_and_holds_none_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x"
    if kind == "empty":
        path.mkdir()
    elif kind == "a file":
        path.touch()
    line = refused(deps("status", "x", cwd=tmp_path))
    assert f"{path}: is no run folder and holds none, and no job in jobs is to begin it" in line


def test_a_run_that_lost_its_description_is_not_left_out(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for name in ("one", "other"):
        write_run(tmp_path / "runs" / name, step=5)
        (tmp_path / "runs" / name / "config.yaml").write_text("name: x")
    (tmp_path / "runs" / "one" / "run.json").unlink()
    done, runs = status(tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path}/runs/one: is no run folder ({tmp_path}/runs/one/run.json: No such file" in done.stderr
    assert [run["name"] for run in runs] == ["other"]


@pytest.mark.parametrize("evidence", ["ledger", "checkpoint", "weights"])
@pytest.mark.parametrize("loss", ["cut", "emptied", "missing"])
def test_rows_that_are_lost_are_told_by_what_else_knows_of_them(tmp_path: Path, evidence: str, loss: str) -> None:
    run = write_run(tmp_path / "run", step=9)
    if evidence == "ledger":
        ledger = json.loads((run / "ledger.json").read_text())
        (run / "ledger.json").write_text(json.dumps({**ledger, "step": 9}))
    elif evidence == "checkpoint":
        (run / "checkpoints").mkdir()
        (run / "checkpoints" / "step-000000009.json").touch()
    else:
        save_supernet(run, NETWORKS["mobilenet_v3_digits"], {})
    until = 20 if evidence == "weights" else 9
    metrics = run / "metrics.jsonl"
    rows = metrics.read_bytes().splitlines(keepends=True)
    metrics.write_bytes(b"".join(rows[:4]) if loss == "cut" else b"")
    if loss == "missing":
        metrics.unlink()
    last = 4 if loss == "cut" else 0
    line = refused(deps("status", "run", cwd=tmp_path))
    assert line.endswith(f"metrics.jsonl: ends at step {last}; what was measured from there to step {until} is lost")


def test_a_run_that_goes_on_from_an_older_checkpoint_has_lost_nothing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", step=9)
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "step-000000009.json").write_text("damaged, so that it went on from step 6")
    MetricsLog(run / "metrics.jsonl").log(7, {"loss/full": 1.0})
    _, [shown] = status(tmp_path, "run")
    assert shown["step"] == 7


def test_a_ledger_that_is_lost_is_told_once_something_was_paid(tmp_path: Path) -> None:
    for name, step in (("new", 0), ("old", 5)):
        (write_run(tmp_path / name, step) / "ledger.json").unlink()
    assert status(tmp_path, "new")[0].returncode == 0
    assert refused(deps("status", "old", cwd=tmp_path)).endswith(
        "ledger.json: cannot be read (No such file or directory); restore it from a copy"
    )


@pytest.mark.parametrize("name", ["run.json", "ledger.json", "metrics.jsonl", "held.txt", "run.lock"])
def test_a_fifo_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run", step=5)
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    done, _ = status(tmp_path, "run")
    assert done.returncode == 0 if name == "run.lock" else f"{name}" in refused(done)


def test_a_job_folder_that_holds_no_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "jobs" / "job-7").mkdir(parents=True)
    os.mkfifo(tmp_path / "jobs" / "job-7" / "job.json")
    done, _ = status(tmp_path)
    assert "job.json: is no record of a job (is not a regular file); remove its folder" in refused(done)
