"""A report of a run folder that lost something says so, and gives no other figures."""

import json
import logging
from pathlib import Path

import pytest

from pipeline.commands.report import print_report
from pipeline.errors import RunFailure
from pipeline.files.json_file import write_json
from pipeline.reports import report
from pipeline.reports.report import ReportError
from pipeline.reports.run_record import read_run
from pipeline.supernet.networks import NETWORKS
from pipeline.supernet.store import save_supernet

from .run_folders import make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished one of 1000 steps."""
    run = make_run(tmp_path / "run")
    save_supernet(run, NETWORKS["mobilenet_v3_digits"], {})
    return run


def cut(run: Path, rows: int) -> None:
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(lines[:rows]))


def test_a_finished_run_whose_last_rows_are_lost_is_not_reported_as_one_that_was_stopped(run: Path) -> None:
    read_run(run)
    for rows, step in ((199, 995), (0, 0)):
        cut(run, rows)
        with pytest.raises(
            ReportError, match=rf"metrics\.jsonl: ends at step {step}, the run was measured to step 1000;"
        ):
            read_run(run)


def test_a_run_that_was_stopped_is_held_against_its_ledger(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", stop_at=500, evaluated=False)
    ledger = json.loads((run / "ledger.json").read_text())
    write_json(run / "ledger.json", {**ledger, "step": 500})
    read_run(run)
    cut(run, 99)
    with pytest.raises(
        ReportError, match=r"ends at step 495, the run was measured to step 500; restore it from a copy"
    ):
        read_run(run)


def test_weights_that_are_damaged_are_told_by_the_report_of_their_figures(run: Path) -> None:
    path = run / "supernet.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(
        RunFailure, match=r"supernet\.safetensors: cannot be loaded: its SHA-256 is not the one written"
    ):
        read_run(run)


def test_that_a_run_is_not_evaluated_yet_is_said_in_the_report_and_beside_it(
    run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "evaluation.json").unlink()
    monkeypatch.setattr(report.sections, "cost", lambda *_: [])  # plots take their time
    monkeypatch.setattr(report.sections, "curves", lambda *_: [])
    monkeypatch.setattr(report.sections, "shrinking", lambda *_: [])
    with caplog.at_level(logging.WARNING):
        print_report([run], None, as_json=True)
    assert caplog.messages == [f"{run}: not evaluated yet; deps evaluate {run} measures its subnets"]
    assert "No run was evaluated yet" in (run / "report" / "report.md").read_text()
    assert json.loads(capsys.readouterr().out)["runs"][0]["evaluated"] is False
