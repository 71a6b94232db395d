"""The launchers that people use start the same program: deepspeed and torchrun, two processes each."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import REPOSITORY, environment, free_port, small_run

BIN = Path(sys.executable).parent


def launch(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    quiet = environment(0, 1, free_port())
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        del quiet[name]
    quiet["PATH"] = os.pathsep.join([str(BIN), os.environ["PATH"]])
    return subprocess.run(command, env=quiet, cwd=cwd, capture_output=True, text=True, timeout=900)


@pytest.mark.distributed
def test_the_deepspeed_launcher_trains_and_mlflow_has_all_of_it(digits: Path, tmp_path: Path) -> None:
    launcher = [str(BIN / "deepspeed"), "--num_gpus", "2", "--no_local_rank", "--master_port", str(free_port())]
    arguments = [*small_run(digits, tmp_path), "data.workers=1", "tracking.mlflow=true", "name=launched"]
    done = launch([*launcher, "--module", "pipeline.train", *arguments], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "32 steps of 16 images on 2 × cpu by deepspeed (ZeRO 1)" in done.stderr
    assert "command is gone" not in done.stderr
    folder = tmp_path / "launched"
    assert json.loads((folder / "run.json").read_text())["world_size"] == 2
    assert json.loads((folder / "ledger.json").read_text())["segments"][0]["accelerators"] == 2

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    [experiment] = [each for each in client.search_experiments() if each.name == "once-for-all"]
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["schedule.epsilon_ramp"] == "5 steps"
    history = client.get_metric_history(run.info.run_id, "loss/full")
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [(point.step, point.value) for point in history] == [
        (row["step"], row["metrics"]["loss/full"]) for row in logged
    ]
    artifacts = {each.path for each in client.list_artifacts(run.info.run_id)}
    assert {"config.yaml", "supernet.safetensors", "supernet.json"} <= artifacts


@pytest.mark.distributed
def test_torchrun_trains(digits: Path, tmp_path: Path) -> None:
    launcher = [str(BIN / "torchrun"), "--nproc-per-node", "2", "--master-port", str(free_port())]
    arguments = [*small_run(digits, tmp_path), "engine={name: ddp}", "name=launched"]
    done = launch([*launcher, "-m", "pipeline.train", *arguments], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "launched" / "supernet.safetensors").exists()


@pytest.mark.distributed
def test_a_users_mistake_is_told_once_by_all_processes_together(digits: Path, tmp_path: Path) -> None:
    launcher = [str(BIN / "deepspeed"), "--num_gpus", "2", "--no_local_rank", "--master_port", str(free_port())]
    done = launch([*launcher, "--module", "pipeline.train", *small_run(digits, tmp_path), "batch_size=15"], REPOSITORY)
    assert done.returncode == 2
    complaint = "pipeline.train: batch_size: 15 cannot be split over 2 processes"
    assert (done.stdout + done.stderr).count(complaint) == 1
    assert "Traceback" not in done.stdout + done.stderr
