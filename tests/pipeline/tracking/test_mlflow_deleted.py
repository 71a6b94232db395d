"""What somebody deleted in MLflow: training goes on, all is kept, and `deps sync` says what helps."""

import json
import os

import pytest

from pipeline.run.layout import MLFLOW, MLFLOW_LOCK
from pipeline.tracking.mlflow import TrackingConfig, sync
from pipeline.tracking.shipment import Shipment
from pipeline.tracking.tracker import Tracker
from tests.support.command_line import deps, refused

from .conftest import PATIENCE, history, wait_until

pytestmark = pytest.mark.usefixtures("quick")


def train(project, steps, status="FINISHED", experiment="once-for-all", meanwhile=lambda: None):
    """A start of the run, in whose middle something happens. Whether MLflow has all of it."""
    folder = project / "runs" / "a"
    tracker = Tracker(folder, TrackingConfig(experiment=experiment), "digits", {"seed": 1}, {"approach": "DεpS"})
    (folder / "note.txt").write_text("kept")
    tracker.log_artifact(folder / "note.txt")
    for step in steps:
        if step == steps[len(steps) // 2]:
            meanwhile()
        tracker.log(step, {"loss/full": float(step)})
    return tracker.close(status, PATIENCE)


def runs_of(client, experiment):
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def assert_whole(client, run, steps, status="FINISHED"):
    assert history(client, run.info.run_id, "loss/full") == [(step, float(step)) for step in steps]
    assert (run.info.status, run.info.run_name) == (status, "digits")
    assert (run.data.params, run.data.tags["approach"]) == ({"seed": "1"}, "DεpS")
    assert [file.path for file in client.list_artifacts(run.info.run_id)] == ["note.txt"]


def delete_run(client):
    (run,) = runs_of(client, "once-for-all")
    client.delete_run(run.info.run_id)
    return run.info.run_id


def delete_experiment(client):
    client.delete_experiment(client.get_experiment_by_name("once-for-all").experiment_id)


def test_a_run_deleted_while_it_trains_goes_on_training_and_arrives_whole_once_it_is_restored(project, client, caplog):
    def delete():
        wait_until(lambda: client.search_experiments(filter_string="name = 'once-for-all'"), "the experiment")
        wait_until(lambda: runs_of(client, "once-for-all"), "the run")
        delete_run(client)

    assert train(project, range(1, 9), meanwhile=delete) is False
    run_id = json.loads((project / "runs" / "a" / MLFLOW).read_text())["run_id"]
    assert caplog.messages[-1].startswith("MLflow lacks a part of this run (the run was deleted in MLflow")

    line = refused(deps("sync", "runs/a", cwd=project))
    where = f"MLFLOW_TRACKING_URI=sqlite:///{project}/mlruns/mlflow.db"
    restore = f"{where} mlflow runs restore --run-id {run_id}"
    assert f"the run was deleted in MLflow; to restore it: {restore}; or: deps sync runs/a --experiment NAME" in line
    assert line.endswith("; or: deps sync runs/a --experiment NAME")

    client.restore_run(run_id)
    assert deps("sync", "runs/a", cwd=project).returncode == 0
    assert_whole(client, client.get_run(run_id), range(1, 9))
    assert len(runs_of(client, "once-for-all")) == 1


def test_a_run_of_a_deleted_experiment_arrives_whole_once_that_is_restored(project, client):
    assert train(project, [1, 2], "KILLED")
    (before,) = runs_of(client, "once-for-all")
    delete_experiment(client)
    assert train(project, [3, 4]) is False
    line = refused(deps("sync", "runs/a", cwd=project))
    assert "the experiment 'once-for-all' was deleted in MLflow" in line
    assert f"mlflow experiments restore --experiment-id {before.info.experiment_id}" in line
    client.restore_experiment(before.info.experiment_id)
    sync(project / "runs" / "a")
    (run,) = runs_of(client, "once-for-all")
    assert run.info.run_id == before.info.run_id
    assert_whole(client, run, [1, 2, 3, 4])


def test_a_run_of_a_deleted_experiment_goes_to_the_one_that_sync_names_and_goes_on_there(project, client):
    assert train(project, [1, 2], "KILLED")
    delete_experiment(client)
    assert train(project, [3, 4]) is False
    done = deps("sync", "runs/a", "--experiment", "rescued", cwd=project)
    assert (done.returncode, done.stdout) == (0, "runs/a: MLflow has all of it\n")
    (run,) = runs_of(client, "rescued")
    assert_whole(client, run, [1, 2, 3, 4])

    assert train(project, [5], "KILLED")  # resumed with the recipe as it was
    assert deps("sync", "runs/a", "--experiment", "rescued", cwd=project).returncode == 0
    (run,) = runs_of(client, "rescued")
    assert_whole(client, run, [1, 2, 3, 4, 5], "KILLED")

    assert train(project, [6], experiment="by recipe")  # a start that names another one is followed
    (run,) = runs_of(client, "by recipe")
    assert_whole(client, run, [1, 2, 3, 4, 5, 6])


def test_a_first_start_into_a_deleted_experiment_is_kept(project, client):
    client.create_experiment("once-for-all")
    delete_experiment(client)
    assert train(project, [1, 2]) is False
    assert "experiment 'once-for-all' was deleted" in refused(deps("sync", "runs/a", cwd=project))
    assert deps("sync", "runs/a", "--experiment", "rescued", cwd=project).returncode == 0
    assert_whole(client, *runs_of(client, "rescued"), [1, 2])


def test_a_deleted_run_is_made_anew_in_its_own_experiment_where_sync_names_that(project, client):
    assert train(project, [1, 2])
    deleted = delete_run(client)
    assert deps("sync", "runs/a", "--experiment", "once-for-all", cwd=project).returncode == 0
    (run,) = runs_of(client, "once-for-all")
    assert run.info.run_id != deleted
    assert_whole(client, run, [1, 2])
    assert deps("sync", "runs/a", "--experiment", "once-for-all", cwd=project).returncode == 0
    assert [each.info.run_id for each in runs_of(client, "once-for-all")] == [run.info.run_id]


def test_naming_an_experiment_that_is_deleted_too_changes_nothing(project, client):
    assert train(project, [1, 2])
    deleted = delete_run(client)
    client.delete_experiment(client.create_experiment("also deleted"))
    line = refused(deps("sync", "runs/a", "--experiment", "also deleted", cwd=project))
    assert "the experiment 'also deleted' was deleted" in line
    client.restore_run(deleted)
    assert deps("sync", "runs/a", cwd=project).returncode == 0
    assert [run.info.run_id for run in runs_of(client, "once-for-all")] == [deleted]


def test_a_run_that_was_removed_for_good_is_sent_again_to_a_new_one(project, client):
    assert train(project, [1, 2])
    removed = delete_run(client)
    client._tracking_client.store._hard_delete_run(removed)  # as `mlflow gc` does
    assert deps("sync", "runs/a", cwd=project).returncode == 0
    (run,) = runs_of(client, "once-for-all")
    assert run.info.run_id != removed
    assert_whole(client, run, [1, 2])


def test_a_run_of_an_experiment_that_was_renamed_goes_on_in_it(project, client):
    assert train(project, [1, 2], "KILLED")
    client.rename_experiment(client.get_experiment_by_name("once-for-all").experiment_id, "renamed")
    assert train(project, [3])
    assert client.get_experiment_by_name("once-for-all") is None
    assert_whole(client, *runs_of(client, "renamed"), [1, 2, 3])


@pytest.mark.parametrize("name", ["", "x" * 501, "a\nb", "\udcff"])
def test_a_name_that_is_none_of_an_experiment_is_refused(project, name):
    line = refused(deps("sync", "runs/a", "--experiment", name, cwd=project))
    assert "--experiment: an experiment's name has 1 … 500 printable characters" in line


def test_what_mlflow_refuses_for_another_reason_is_told_as_such(project):
    assert train(project, [1], "KILLED")
    folder = project / "runs" / "a"
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "time": 1.0, "metrics": {"not a name of MLflow\'s: ?": 1.0}}\n')
    line = refused(deps("sync", "runs/a", cwd=project), code=1)
    assert "Invalid value" in line
    assert line.endswith("all is kept, and deps sync sends it once that is mended")


@pytest.mark.parametrize(
    "damage", ['{"metrics_offset": "x"', '{"metrics_offset": -1', '{"marks": [1]', '{"hours": "x"']
)
def test_a_state_of_other_types_is_damaged(project, client, damage, caplog):
    assert train(project, [1, 2])
    folder = project / "runs" / "a"
    (folder / MLFLOW).write_text(f'{damage}, "uri": "x", "experiment": "once-for-all"}}')
    sync(folder)
    assert caplog.messages == [f"{folder / MLFLOW}: is damaged; all is sent again, to a new run of MLflow"]
    assert [history(client, run.info.run_id, "loss/full") for run in runs_of(client, "once-for-all")] == [
        [(1, 1.0), (2, 2.0)]
    ] * 2


@pytest.mark.parametrize("name", ["metrics.jsonl", "outbox.jsonl", MLFLOW, MLFLOW_LOCK])
def test_a_fifo_in_the_place_of_a_file_is_not_waited_for(project, name):
    assert train(project, [1, 2])
    folder = project / "runs" / "a"
    (folder / name).unlink()
    os.mkfifo(folder / name)
    done = deps("sync", "runs/a", cwd=project)
    if name == MLFLOW:
        assert done.returncode == 0
    else:
        assert f"{name}: is not a regular file" in refused(done, code=1)


def test_a_move_that_was_cut_off_is_gone_on_with(project, client, monkeypatch):
    assert train(project, [1, 2])
    with monkeypatch.context() as cut:
        cut.setattr(Shipment, "_send_metrics", lambda *_: (_ for _ in ()).throw(ConnectionError("cut")))
        refused(deps("sync", "runs/a", "--experiment", "moved", cwd=project), code=1)
    assert deps("sync", "runs/a", cwd=project).returncode == 0
    assert_whole(client, *runs_of(client, "moved"), [1, 2])
