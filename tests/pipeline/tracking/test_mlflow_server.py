"""A tracking server may be dead, hang or come and go: training does not notice, and in the end all is there once."""

import json
import socket
import threading

import pytest

from pipeline.tracking import mlflow as shipping
from pipeline.tracking.mlflow import TrackingConfig, sync
from pipeline.tracking.mlflow_run import DeletedError
from pipeline.tracking.shipment import Shipment
from pipeline.tracking.tracker import Tracker

from .conftest import PATIENCE, history, wait_until


class Offline:
    """While it holds, the thread that made it must not use a socket: not to connect, not to send, not to receive."""

    def __init__(self):
        self.patch = pytest.MonkeyPatch()

    def __enter__(self):
        mine = threading.current_thread()
        for name in ("connect", "connect_ex", "send", "sendall", "recv", "recv_into"):
            original = getattr(socket.socket, name)

            def guarded(*args, original=original, name=name):
                assert threading.current_thread() is not mine, f"the training thread calls {name}"
                return original(*args)

            self.patch.setattr(socket.socket, name, guarded)

    def __exit__(self, *_):
        self.patch.undo()


class HangingServer:
    """Takes connections, reads requests, and never answers."""

    def __init__(self, port):
        self.asked = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self._taken = []
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        try:
            while True:
                connection, _ = self._listener.accept()
                self._taken.append(connection)
                connection.recv(1)
                self.asked.set()
        except OSError:
            pass  # closed

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._taken:
            connection.close()


def start(folder, uri):
    with Offline():
        return Tracker(folder, TrackingConfig(uri=uri), folder.name, {"seed": 1}, {})


def log_steps(tracker, steps):
    with Offline():
        for step in steps:
            tracker.log(step, {"loss/full": float(step), "acc/full": 50.0, "cost/gpu_hours": step / 10})


def logged_steps(folder):
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def thread_of(tracker):
    return tracker._shipper._thread


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
    return client


def test_a_server_that_hangs_is_dead_comes_dies_and_comes_back(tmp_path, server, quick, caplog, monkeypatch):
    for name in ("hung", "steady"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "note.txt").write_text("kept")

    # 1. It takes requests and never answers: logging goes on meanwhile; closing gives up, and says how to go on.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(int(PATIENCE)))  # longer than closing waits
    hanging = HangingServer(server.port)
    hung = start(tmp_path / "hung", server.uri)
    wait_until(hanging.asked.is_set, "the first request")
    log_steps(hung, range(50))
    with Offline():
        hung.log_artifact(tmp_path / "hung" / "note.txt")
    assert thread_of(hung).is_alive()  # still waiting for its first answer
    assert logged_steps(tmp_path / "hung") == list(range(50))
    with Offline():
        assert hung.close("FINISHED", timeout=1) is False
    assert thread_of(hung).is_alive()
    assert "deps sync" in caplog.text
    hanging.close()
    thread_of(hung).join(PATIENCE)

    # 2. Nothing listens: one warning, however often it is tried.
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    caplog.clear()
    tries = count_tries(monkeypatch)
    steady = start(tmp_path / "steady", server.uri)
    steady.log_artifact(tmp_path / "steady" / "note.txt")
    log_steps(steady, range(50))
    wait_until(lambda: len(tries) >= 5, "five tries")
    assert caplog.text.count("takes nothing") == 1

    # 3. It comes: what was kept is sent without being asked for.
    server.start()
    wait_until(lambda: "is back" in caplog.text, "the server is back")
    log_steps(steady, range(50, 60))

    # 4. It dies in mid-run and comes back.
    server.kill()
    log_steps(steady, range(60, 70))
    before = len(tries)
    wait_until(lambda: len(tries) >= before + 2, "tries while it is dead")
    server.start()
    log_steps(steady, range(70, 80))
    assert steady.close("FINISHED", PATIENCE) is True

    # 5. What the hanging server never took is sent later.
    sync(tmp_path / "hung")
    client = check(server, {"steady": range(80), "hung": range(50)})

    # 6. A run that was deleted there is told as such.
    client.delete_run(json.loads((tmp_path / "hung" / "mlflow.json").read_text())["run_id"])
    with pytest.raises(DeletedError, match=rf"MLFLOW_TRACKING_URI={server.uri} mlflow runs restore --run-id"):
        sync(tmp_path / "hung")


def count_tries(monkeypatch):
    """A list that grows with each try of sending."""
    tries, send = [], Shipment.send

    def counted(self):
        tries.append(self)
        return send(self)

    monkeypatch.setattr(Shipment, "send", counted)
    return tries


def test_closing_with_a_dead_server_gives_up_after_some_tries_and_loses_nothing(tmp_path, server, monkeypatch):
    tries = count_tries(monkeypatch)
    tracker = start(tmp_path / "run", server.uri)
    log_steps(tracker, [1])
    assert tracker.close("KILLED", PATIENCE) is False
    assert not thread_of(tracker).is_alive()  # it has given up, and was not cut off by the deadline
    # before closing it may have tried, some seconds apart
    assert all(each is tries[0] for each in tries)
    assert len(tries) >= shipping.TRIES_AT_CLOSE
    assert '"status": "KILLED"' in (tmp_path / "run" / "outbox.jsonl").read_text()
