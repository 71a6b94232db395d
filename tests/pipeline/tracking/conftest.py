"""A run in a folder of its own, and MLflow databases and servers to send it to."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from pipeline.tracking import mlflow as shipping

PATIENCE = 300.0  # seconds: a deadline against hanging for ever, far above what a busy machine needs


def wait_until(condition, what):
    """Wait for what another thread or process does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.05)


@pytest.fixture
def quick(monkeypatch):
    """The shipper looks and tries again at once, so that tests need not wait for it."""
    monkeypatch.setattr(shipping, "SECONDS_BETWEEN_LOOKS", 0.05)
    monkeypatch.setattr(shipping, "LONGEST_PAUSE", 0.2)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    """An MLflow database as MLflow creates it, made once: its migrations take seconds."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("mlflow")
    MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path, monkeypatch, empty_database):
    """A project folder as the current one, whose `mlruns/mlflow.db` exists and is empty."""
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_database, tmp_path / "mlruns" / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def client(project):
    """A client of the project's database."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{project}/mlruns/mlflow.db")


def history(client, run_id, name):
    """(step, value) of a metric as MLflow holds it, in order of steps, repetitions included."""
    return sorted((point.step, point.value) for point in client.get_metric_history(run_id, name))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A real MLflow server on loopback, with its database in `folder`; it can be killed and started again."""

    def __init__(self, folder, port, database):
        self.folder, self.port = folder, port
        self.uri = f"http://127.0.0.1:{port}"
        self.database = folder / "server.db"
        shutil.copy(database, self.database)
        self.process = None

    def start(self):
        options = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        options += ["--backend-store-uri", f"sqlite:///{self.database}"]
        options += ["--artifacts-destination", str(self.folder / "artifacts")]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *options],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=(self.folder / "server.log").open("a"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_until(self.answers, "the MLflow server's answer")

    def answers(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=10):
                return True
        except OSError:
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            return False

    def kill(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path, empty_database):
    server = Server(tmp_path, free_port(), empty_database)
    yield server
    server.kill()
