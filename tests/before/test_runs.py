"""Runs of before are evaluated, reported, exported, listed and sent as before, and go on to the same weights.

They were made in /srv/deps-before, and have been moved here.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.before import recorded
from tests.support.command_line import Done, deps, refused

BEFORE: dict[str, Any] = recorded.read("runs")
PLACE = "/srv/deps-before"


@pytest.fixture
def project(tmp_path: Path, shards: Path) -> Path:
    """A folder with copies of the runs, and with their data where their recipes look for it."""
    shutil.copytree(recorded.DATA / "runs", tmp_path / "runs")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "digits").symlink_to(shards)
    return tmp_path


def printed(done: Done) -> Any:
    """What a command printed as JSON."""
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def without_later(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without training MACs, which the ledgers of then did not count."""
    assert all(row["training_macs"] is None for row in rows)
    return [{key: value for key, value in row.items() if key != "training_macs"} for row in rows]


def test_a_finished_run_is_evaluated_to_the_same_figures(project: Path) -> None:
    subnet = BEFORE["evaluation"][-1]["subnet"]
    now = printed(deps("evaluate", "runs/finished", "--subnet", subnet, "--json", cwd=project))
    # In the supernet's own weights today, which rounds elsewhere than the extracted network of then.
    on_that_processor = recorded.processor() == BEFORE["processor"]
    for found, was in zip(now, BEFORE["evaluation"], strict=True):
        assert {**found, "top1": 0, "top5": 0, "loss": 0} == {**was, "top1": 0, "top5": 0, "loss": 0}
        assert found["loss"] == pytest.approx(was["loss"], rel=1e-5 if on_that_processor else 1e-3)
        few = 100 * 2 / 359  # of the held-out images: those between two classes
        assert (found["top1"], found["top5"]) == pytest.approx((was["top1"], was["top5"]), abs=few)


@pytest.mark.parametrize("name", BEFORE["reports"])
def test_a_run_is_reported_by_the_same_figures(name: str, project: Path) -> None:
    now = printed(deps("report", f"runs/{name}", "--output", "report", "--json", cwd=project))
    for part, was in BEFORE["reports"][name].items():
        assert without_later(now[part]) == was


@pytest.mark.parametrize(("name", "options"), [("newest", []), ("best", ["--best"])])
def test_the_same_weights_are_exported(name: str, options: list[str], project: Path) -> None:
    done = deps("weights", "runs/finished", *options, "--output", "weights", cwd=project)
    assert done.returncode == 0, done
    assert (
        recorded.summary(recorded.tensors_in(project / "weights" / "supernet.safetensors")) == BEFORE["weights"][name]
    )


def test_runs_are_listed_as_they_were(project: Path) -> None:
    now = printed(deps("status", "runs", "--json", cwd=project))
    moved = [{**was, "run": was["run"].replace(PLACE, str(project))} for was in BEFORE["status"]]
    assert without_later(now) == moved


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("finished", f"is tracked in {PLACE}/mlruns/mlflow.db, which is not there"),
        ("stopped", f"is tracked in {PLACE}/mlruns/mlflow.db, which is not there"),
        ("killed", "was trained without MLflow"),
    ],
)
def test_what_mlflow_has_elsewhere_or_not_at_all_is_not_sent(name: str, why: str, project: Path) -> None:
    assert why in refused(deps("sync", f"runs/{name}", cwd=project))


def test_a_run_killed_after_sorting_goes_on_to_the_same_weights(project: Path, shards: Path) -> None:
    place = [f"runs={project / 'runs'}", f"data.shards={shards}"]
    done = deps("train", project / "runs" / "killed" / "config.yaml", *place, "--resume")
    check_end(done, project / "runs" / "killed", "continuing at step 9")


def test_a_run_stopped_before_sorting_goes_on_to_the_same_weights_and_is_tracked_in_a_new_place(project: Path) -> None:
    database = f"tracking.uri=sqlite:///{project}/mlruns/mlflow.db"
    done = deps("train", "runs/stopped/config.yaml", database, "--resume", cwd=project)
    check_end(done, project / "runs" / "stopped", "continuing at step 5")
    assert printed(deps("sync", "runs/stopped", "--json", cwd=project))["complete"]


def check_end(done: Done, run: Path, said: str) -> None:
    """Make sure that a run has gone on, and come to the weights and momentum of the run that was not interrupted."""
    assert done.returncode == 0, done
    assert said in done.stdout + done.stderr
    end = recorded.tensors_in(run / "checkpoints" / "step-000000014.safetensors")
    recorded.check_same(end, BEFORE["end"], on=BEFORE["processor"])
    weights = {f"weights/{name}": each for name, each in recorded.tensors_in(run / "supernet.safetensors").items()}
    assert recorded.summary(weights).items() <= recorded.summary(end).items()
