"""A tracking server may be dead, hang or come and go: training does not notice, and in the end all is there once."""

import socket
import time

from pipeline.tracking import mlflow_run
from pipeline.tracking.mlflow import TrackingConfig, sync
from pipeline.tracking.tracker import Tracker

from .conftest import history


def start(folder, uri):
    return Tracker(folder, TrackingConfig(uri=uri), folder.name, {"seed": 1}, {})


def log_steps(tracker, steps):
    """Log, and return the slowest call's seconds."""
    slowest = 0.0
    for step in steps:
        began = time.perf_counter()
        tracker.log(step, {"loss/full": float(step), "acc/full": 50.0, "cost/hours": step / 10})
        slowest = max(slowest, time.perf_counter() - began)
    return slowest


def wait_for(text, caplog, seconds=30):
    for _ in range(int(seconds / 0.05)):
        if text in caplog.text:
            return
        time.sleep(0.05)
    raise AssertionError(f"{text!r} was not said within {seconds} s: {caplog.text}")


def check(server, names_and_steps):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{server.database}")
    experiment = client.get_experiment_by_name("once-for-all")
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert len(client.search_runs([experiment.experiment_id])) == len(names_and_steps)
    for name, steps in names_and_steps.items():
        run_id = runs[name].info.run_id
        assert history(client, run_id, "loss/full") == [(step, float(step)) for step in steps]
        assert history(client, run_id, "acc_by_cost/full") == [(100 * step, 50.0) for step in steps]
        assert runs[name].info.status == "FINISHED"
        assert len(list((server.folder / "artifacts").glob(f"*/{run_id}/artifacts/note.txt"))) == 1


def test_a_server_that_hangs_is_dead_comes_dies_and_comes_back(tmp_path, server, quick, caplog, monkeypatch):
    monkeypatch.setitem(mlflow_run._ENVIRONMENT, "MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    (tmp_path / "note.txt").write_text("kept")

    # 1. It accepts connections and never answers: closing gives up in time, and says how to go on.
    with socket.create_server(("127.0.0.1", server.port)):
        hung = start(tmp_path / "hung", server.uri)
        assert log_steps(hung, range(50)) < 0.1
        hung.log_artifact(tmp_path / "note.txt")
        began = time.monotonic()
        assert hung.close("FINISHED", timeout=3) is False
        assert time.monotonic() - began < 3.5
        assert "deps sync" in caplog.text

    # 2. Nothing listens: one warning, however often it is tried.
    caplog.clear()
    steady = start(tmp_path / "steady", server.uri)
    steady.log_artifact(tmp_path / "note.txt")
    assert log_steps(steady, range(50)) < 0.1
    wait_for("takes nothing", caplog)
    time.sleep(1)
    assert caplog.text.count("takes nothing") == 1

    # 3. It comes: what was kept is sent without being asked for.
    server.start()
    wait_for("is back", caplog)
    assert log_steps(steady, range(50, 60)) < 0.1

    # 4. It dies in mid-run and comes back.
    server.kill()
    assert log_steps(steady, range(60, 70)) < 0.1
    time.sleep(0.5)
    server.start()
    assert log_steps(steady, range(70, 80)) < 0.1
    assert steady.close("FINISHED", timeout=30) is True
    assert caplog.text.count("is back") <= 2

    # 5. What the hanging server never took is sent later.
    sync(tmp_path / "hung")
    check(server, {"steady": range(80), "hung": range(50)})


def test_closing_with_a_dead_server_takes_seconds_and_loses_nothing(tmp_path, server, caplog):
    tracker = start(tmp_path / "run", server.uri)
    tracker.log(1, {"loss/full": 1.0})
    began = time.monotonic()
    assert tracker.close("KILLED", timeout=60) is False
    assert time.monotonic() - began < 20
    assert '"status": "KILLED"' in (tmp_path / "run" / "outbox.jsonl").read_text()
