"""A run that is killed and goes on: MLflow has every step of it once, as the metrics file does."""

import signal
from pathlib import Path

import pytest

from tests.faults.broken_run import STEPS, Run
from tests.support.progress import stop, wait_for_steps


@pytest.mark.distributed
def test_mlflow_has_every_step_of_a_killed_run_once(digits: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/mlflow.db"
    run = Run(digits, tmp_path / "runs", "tracked", 1, f"tracking={{mlflow: true, uri: '{database}'}}")
    killed = run.start()
    wait_for_steps(run.folder, 10, killed)
    stop(killed, signal.SIGKILL)
    run.finish()
    assert run.steps_read() == list(range(1, STEPS + 1))

    from mlflow import MlflowClient

    client = MlflowClient(database)
    [experiment] = [each for each in client.search_experiments() if each.name == "once-for-all"]
    [tracked] = client.search_runs([experiment.experiment_id])
    assert tracked.info.status == "FINISHED"
    history = client.get_metric_history(tracked.info.run_id, "loss/full")
    assert [point.step for point in history] == list(range(1, STEPS + 1))
