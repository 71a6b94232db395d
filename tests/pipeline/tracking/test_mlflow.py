"""MLflow gets a copy of a run: all of it, each value once, whatever happens in between."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from mlflow import MlflowClient
from pydantic import ValidationError

from pipeline.commands.sync import print_sync, sync_run
from pipeline.errors import UsageError
from pipeline.run.layout import MLFLOW
from pipeline.tracking import outbox
from pipeline.tracking.mlflow import TrackingConfig, sync
from pipeline.tracking.mlflow_run import MlflowRun, Place, place_of
from pipeline.tracking.shipment import BusyError, NotTrackedError, State
from pipeline.tracking.tracker import Tracker
from tests.support.forked_program import REPOSITORY, Forked

from .conftest import PATIENCE, history, wait_until

RECIPE = {"seed": 1, "optimizer": {"rate": 0.1, "betas": [0.9, 0.99]}, "note": "x" * 9000}


NOTHING_SENT = {"experiment": "once-for-all", "name": "digits", "params": {}, "tags": {}}

RESUMED_TRAINING = """
import sys
from pathlib import Path
from pipeline.tracking.tracker import Tracker, TrackingConfig
tracker = Tracker(Path("runs/a"), TrackingConfig(uri=sys.argv[1] or None), "digits", {"seed": 1}, {})
tracker.log(2, {"loss/full": 2.0})
assert tracker.close("FINISHED", 300)
"""


def resume_in_a_process(project, uri):
    resumed = Forked(["-c", RESUMED_TRAINING, uri], os.environ, project)
    said, _ = resumed.communicate(PATIENCE)
    assert resumed.returncode == 0, said


def start(project, params=RECIPE):
    return Tracker(project / "runs" / "a", TrackingConfig(), "digits", params, {"approach": "DεpS"})


def the_run(client):
    experiment = client.get_experiment_by_name("once-for-all")
    (run,) = client.search_runs([experiment.experiment_id])
    return run


@pytest.mark.usefixtures("quick")
def test_a_run_arrives_whole(project, client):
    tracker = start(project)
    for step in range(1, 1501):
        tracker.log(step, {"loss/full": 1 / step, "optim/lr": 0.1})
    weights = project / "runs" / "a" / "supernet.safetensors"
    weights.write_bytes(b"weights")
    (project / "runs" / "a" / "report").mkdir()
    (project / "runs" / "a" / "report" / "report.md").write_text("# Report")
    tracker.log_artifact(weights)
    tracker.log_artifact(weights.parent / "report", "report")
    assert tracker.close("FINISHED", PATIENCE)

    run = the_run(client)
    assert history(client, run.info.run_id, "loss/full") == [(step, 1 / step) for step in range(1, 1501)]
    assert len(history(client, run.info.run_id, "optim/lr")) == 1500
    assert run.info.run_name == "digits"
    assert run.info.status == "FINISHED"
    assert run.info.end_time >= run.info.start_time
    assert run.data.tags["approach"] == "DεpS"
    assert run.data.params["optimizer.rate"] == "0.1"
    assert run.data.params["optimizer.betas"] == "[0.9, 0.99]"
    assert run.data.params["note"] == "x" * 6000
    copies = project / "mlruns" / "artifacts" / run.info.run_id / "artifacts"
    assert (copies / "supernet.safetensors").read_bytes() == b"weights"
    assert (copies / "report" / "report.md").read_text() == "# Report"


@pytest.mark.usefixtures("quick")
def test_a_metric_has_the_time_it_was_measured_at_and_not_the_time_it_was_sent_at(project, client):
    tracker = start(project)
    before = time.time()
    tracker.log(1, {"loss/full": 1.0})
    after = time.time()
    assert tracker.close("FINISHED", PATIENCE)
    (point,) = client.get_metric_history(the_run(client).info.run_id, "loss/full")
    assert int(1000 * before) <= point.timestamp <= 1000 * after


@pytest.mark.usefixtures("quick")
def test_a_resumed_run_goes_on_and_the_steps_it_repeats_are_there_once(project, client):
    tracker = start(project)
    for step in (10, 20, 30):
        tracker.log(step, {"loss/full": float(step)})
    assert tracker.close("KILLED", PATIENCE)
    assert the_run(client).info.status == "KILLED"

    resumed = start(project, {**RECIPE, "seed": 2, "epochs": 5})
    for step in (20, 30, 40):
        resumed.log(step, {"loss/full": float(step), "acc/full": 90.0})
    assert resumed.close("FINISHED", PATIENCE)
    run = the_run(client)
    assert history(client, run.info.run_id, "loss/full") == [(step, float(step)) for step in (10, 20, 30, 40)]
    assert [step for step, _ in history(client, run.info.run_id, "acc/full")] == [20, 30, 40]
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "1"  # MLflow's params cannot change
    assert run.data.tags["changed/seed"] == "2"
    assert run.data.params["epochs"] == "5"


@pytest.mark.usefixtures("quick")
def test_a_resumed_run_shows_as_running(project, client):
    assert start(project).close("KILLED", PATIENCE)
    resumed = start(project)
    wait_until(lambda: the_run(client).info.status == "RUNNING", "the run's status")
    assert resumed.close("FINISHED", PATIENCE)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("cost", ["cost/gpu_hours", "cost/cpu_process_hours"])
def test_accuracy_is_also_there_by_cost_and_once(project, client, cost):
    tracker = start(project)
    tracker.log(10, {"acc/full": 50.0, "cost/gpu_hours": 0.5})
    tracker.log(15, {"cost/gpu_hours": 0.75})
    tracker.log(20, {"acc/full": 60.0, "acc/smallest": 40.0})
    assert tracker.close("KILLED", PATIENCE)
    resumed = start(project)
    resumed.log(20, {"acc/full": 60.0, "acc/smallest": 40.0, "cost/gpu_hours": 0.9})
    resumed.log(30, {"acc/full": 70.0, "acc/smallest": 55.0, "cost/gpu_hours": 1.25})
    assert resumed.close("FINISHED", PATIENCE)
    run_id = the_run(client).info.run_id
    assert history(client, run_id, "acc_by_cost/full") == [(500, 50.0), (750, 60.0), (1250, 70.0)]
    assert history(client, run_id, "acc_by_cost/smallest") == [(750, 40.0), (1250, 55.0)]


@pytest.mark.usefixtures("quick")
def test_values_that_are_not_finite_do_not_stop_the_others(project, client):
    tracker = start(project)
    tracker.log(1, {"loss/full": float("nan"), "loss/random": float("inf")})
    tracker.log(2, {"loss/full": 1.0})
    assert tracker.close("FAILED", PATIENCE)
    run = the_run(client)
    assert history(client, run.info.run_id, "loss/full")[1] == (2, 1.0)
    assert len(history(client, run.info.run_id, "loss/random")) == 1
    assert run.info.status == "FAILED"


@pytest.mark.usefixtures("quick")
def test_an_answer_that_gets_lost_does_not_double_anything(project, client, monkeypatch):
    send, create = MlflowRun.send_metrics, MlflowRun._find_or_create
    lost = []

    def send_and_lose_the_answer(self, points):
        send(self, points)
        if len(lost) < 2:
            lost.append(points)
            raise ConnectionError("the answer got lost")

    def create_and_lose_the_answer(self, *args):
        run_id = create(self, *args)
        if not lost:
            lost.append(run_id)
            raise ConnectionError("the answer got lost")
        return run_id

    monkeypatch.setattr(MlflowRun, "send_metrics", send_and_lose_the_answer)
    monkeypatch.setattr(MlflowRun, "_find_or_create", create_and_lose_the_answer)
    tracker = start(project)
    for step in range(5):
        tracker.log(step, {"loss/full": float(step), "acc/full": 1.0, "cost/gpu_hours": step / 10})
    assert tracker.close("FINISHED", PATIENCE)
    assert len(lost) == 2
    run_id = the_run(client).info.run_id  # there is one run only
    assert history(client, run_id, "loss/full") == [(step, float(step)) for step in range(5)]
    assert [step for step, _ in history(client, run_id, "acc_by_cost/full")] == [0, 100, 200, 300, 400]


@pytest.mark.usefixtures("quick")
def test_a_database_that_was_deleted_gets_the_whole_run_again(project, empty_database):
    tracker = start(project)
    tracker.log(1, {"loss/full": 1.0})
    assert tracker.close("KILLED", PATIENCE)
    (project / "mlruns").rename(project / "gone")
    (project / "mlruns").mkdir()
    shutil.copy(empty_database, project / "mlruns" / "mlflow.db")

    # in a process of its own, as a resume is: MLflow keeps databases open
    resume_in_a_process(project, "")
    fresh = MlflowClient(tracking_uri=f"sqlite:///{project}/mlruns/../mlruns/mlflow.db")
    run = the_run(fresh)
    assert history(fresh, run.info.run_id, "loss/full") == [(1, 1.0), (2, 2.0)]
    assert run.info.status == "FINISHED"


@pytest.mark.usefixtures("quick")
def test_a_run_that_moves_to_another_server_is_there_whole(project, client, empty_database):
    tracker = start(project)
    tracker.log(1, {"loss/full": 1.0})
    assert tracker.close("KILLED", PATIENCE)
    other = shutil.copy(empty_database, project / "other.db")
    resume_in_a_process(project, f"sqlite:///{other}")
    moved = MlflowClient(tracking_uri=f"sqlite:///{other}")
    assert history(moved, the_run(moved).info.run_id, "loss/full") == [(1, 1.0), (2, 2.0)]
    assert history(client, the_run(client).info.run_id, "loss/full") == [(1, 1.0)]


@pytest.mark.usefixtures("quick")
def test_a_folder_from_elsewhere_cannot_have_other_files_sent(project, client, quick, caplog):
    secret = project / "secret"
    secret.mkdir()
    (secret / "key.txt").write_text("private")
    folder = project / "runs" / "a"
    tracker = start(project)
    (folder / "own").mkdir()
    (folder / "own" / "page.txt").write_text("own")
    (folder / "link.txt").symlink_to(secret / "key.txt")
    (folder / "way").symlink_to(secret)
    (folder / "pages").mkdir()
    (folder / "pages" / "inside.txt").symlink_to(secret / "key.txt")
    foreign = [str(secret / "key.txt"), "../../secret/key.txt", str(secret), "link.txt", "way", "way/key.txt", "pages"]
    for path in foreign:
        outbox.append(folder, "artifact", {"path": path, "folder": None})
    tracker.log_artifact(folder / "own", "own")
    assert tracker.close("FINISHED", PATIENCE)
    copies = project / "mlruns" / "artifacts" / the_run(client).info.run_id / "artifacts"
    assert [path.name for path in copies.rglob("*") if path.is_file()] == ["page.txt"]
    told = [record.getMessage() for record in caplog.records if "is not in the run's folder" in record.getMessage()]
    assert len(told) == len(foreign)
    assert all("is not sent to MLflow" in line for line in told)


def test_an_artifact_that_is_gone_is_named_and_holds_nothing_up(project, client, caplog):
    tracker = start(project)
    tracker.log_artifact(project / "runs" / "a" / "gone.yaml")
    tracker.log(1, {"loss/full": 1.0})
    assert tracker.close("FINISHED", PATIENCE)
    assert "gone.yaml" in caplog.text
    assert history(client, the_run(client).info.run_id, "loss/full") == [(1, 1.0)]


@pytest.mark.usefixtures("quick")
def test_an_entry_torn_by_a_kill_does_not_take_the_next_one_with_it(project, client):
    folder = project / "runs" / "a"
    assert start(project).close("KILLED", PATIENCE)
    with (folder / "outbox.jsonl").open("a") as file:
        file.write('{"kind": "artifact", "pa')
    assert start(project, {**RECIPE, "epochs": 5}).close("FINISHED", PATIENCE)
    assert the_run(client).data.params["epochs"] == "5"


KILLED_TRAINING = """
import os, signal, sys, threading, time
from pathlib import Path
from pipeline.tracking.tracker import Tracker, TrackingConfig

class ImportOfMlflow:
    hangs = threading.Event()
    goes_on = threading.Event()

    def find_spec(self, name, *args):
        if name == "mlflow":
            print("mlflow is imported by", threading.current_thread().name, flush=True)
            self.hangs.set()
            self.goes_on.wait()

sys.meta_path.insert(0, ImportOfMlflow())
tracker = Tracker(Path("runs/a"), TrackingConfig(), "digits", {"seed": 1}, {})
ImportOfMlflow.hangs.wait()
tracker.log(1, {"loss/full": 1.0})
if sys.argv[1] == "wait":
    ImportOfMlflow.goes_on.set()
    while not Path("runs/a/mlflow.json").exists() or "run_id\\": \\"" not in Path("runs/a/mlflow.json").read_text():
        time.sleep(0.05)
    print("sending", flush=True)
    time.sleep(60)
tracker.log_artifact(Path("runs/a/note.txt"))
tracker.log(2, {"loss/full": 2.0})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_training_thread_neither_imports_mlflow_nor_waits_for_it_and_a_kill_loses_nothing(project, client):
    note = project / "runs" / "a" / "note.txt"
    note.parent.mkdir(parents=True)
    note.write_text("kept")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_TRAINING, "kill"],
        check=False,
        capture_output=True,
        text=True,
        cwd=project,
        timeout=PATIENCE,
    )
    # the import never ended, and training got to its end all the same
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "mlflow is imported by mlflow-shipper\n")
    sync(project / "runs" / "a")
    sync(project / "runs" / "a")
    run = the_run(client)
    assert history(client, run.info.run_id, "loss/full") == [(1, 1.0), (2, 2.0)]
    assert run.info.status == "KILLED"
    assert (project / "mlruns" / "artifacts" / run.info.run_id / "artifacts" / "note.txt").read_text() == "kept"


def test_syncing_a_run_that_is_going_on_is_refused(project):
    training = subprocess.Popen(
        [sys.executable, "-c", KILLED_TRAINING, "wait"], stdout=subprocess.PIPE, text=True, cwd=project
    )
    try:
        training.stdout.readline()
        assert training.stdout.readline() == "sending\n"
        with pytest.raises(BusyError, match="another process"):
            sync(project / "runs" / "a")
    finally:
        training.kill()
        training.wait()


@pytest.mark.usefixtures("quick")
def test_an_artifact_that_changed_is_sent_again_also_just_before_the_end(project, client):
    ledger = project / "runs" / "a" / "ledger.json"

    def copies():
        return [path.read_text() for path in (project / "mlruns" / "artifacts").glob("*/artifacts/ledger.json")]

    for status, start_text, end_text in (("KILLED", "start", "kill"), ("FINISHED", "resumed", "end")):
        tracker = start(project)
        ledger.write_text(start_text)
        tracker.log_artifact(ledger)
        wait_until(lambda text=start_text: copies() == [text], "the first copy")
        ledger.write_text(end_text)
        tracker.log_artifact(ledger)
        assert tracker.close(status, PATIENCE)
        assert copies() == [end_text]


BAD_ENTRIES = [
    "5",
    "[]",
    "null",
    "",
    "word",
    '{"path": "x"}',
    '{"kind": "parcel"}',
    '{"kind": []}',
    '{"kind": "artifact", "path": "x"}',
    '{"kind": "artifact", "path": 5, "folder": null}',
    '{"kind": "run", "name": "x", "params": [], "tags": {}}',
    '{"kind": "status"}',
]


@pytest.mark.parametrize("line", BAD_ENTRIES)
def test_a_line_that_is_no_entry_is_none(line):
    assert outbox.parse(line) is None


@pytest.mark.usefixtures("quick")
def test_lines_that_are_no_entries_are_told_once_and_hold_nothing_up(project, client, caplog):
    folder = project / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "outbox.jsonl").write_text("5\n" + '{"kind": "status"}\n')
    assert start(project).close("KILLED", PATIENCE)
    assert start(project).close("FINISHED", PATIENCE)
    assert caplog.text.count("not an entry") == 2
    assert the_run(client).info.status == "FINISHED"


@pytest.mark.usefixtures("quick")
def test_a_run_is_sent_to_the_place_of_its_start_from_whatever_folder(project, client, monkeypatch):
    assert start(project).close("KILLED", PATIENCE)
    folder, elsewhere = project / "runs" / "a", project / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (folder / "note.txt").write_text("kept")
    outbox.append(folder, "artifact", outbox.artifact_entry(folder, folder / "note.txt", None))
    sync(folder)
    assert list(elsewhere.iterdir()) == []
    assert (project / "mlruns" / "artifacts" / the_run(client).info.run_id / "artifacts" / "note.txt").exists()


@pytest.mark.usefixtures("quick")
def test_a_place_that_is_gone_is_named_and_not_made_anew(project, tmp_path_factory):
    assert start(project).close("KILLED", PATIENCE)
    moved = tmp_path_factory.mktemp("moved") / "project"
    shutil.copytree(project, moved)
    shutil.rmtree(project / "mlruns")
    for folder in (project / "runs" / "a", moved / "runs" / "a"):
        with pytest.raises(UsageError, match="was it moved") as caught:
            sync_run(folder)
        assert str(project / "mlruns" / "mlflow.db") in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not (project / "mlruns").exists()


@pytest.mark.usefixtures("quick")
def test_a_moved_project_goes_on_with_its_moved_run_and_makes_no_folder_in_the_old_place(
    project, tmp_path_factory, monkeypatch
):
    tracker = start(project)
    tracker.log(1, {"loss/full": 1.0})
    assert tracker.close("KILLED", PATIENCE)
    moved = tmp_path_factory.mktemp("moved") / "project"
    shutil.copytree(project, moved)
    shutil.rmtree(project / "mlruns")
    monkeypatch.chdir(moved)
    (moved / "runs" / "a" / "note.txt").write_text("kept")
    tracker = start(moved)
    tracker.log(2, {"loss/full": 2.0})
    assert tracker.close("KILLED", PATIENCE)
    there = MlflowClient(tracking_uri=f"sqlite:///{moved}/mlruns/mlflow.db")
    assert history(there, the_run(there).info.run_id, "loss/full") == [(1, 1.0), (2, 2.0)]
    folder = moved / "runs" / "a"
    outbox.append(folder, "artifact", outbox.artifact_entry(folder, folder / "note.txt", None))
    with pytest.raises(UsageError, match=r"artifacts go to .*was it moved"):
        sync_run(folder)
    assert not (project / "mlruns").exists()


def test_a_run_killed_before_anything_was_sent_gets_its_database_later(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outbox.append(tmp_path, "run", {**place_of(None)._asdict(), **NOTHING_SENT})
    sync_run(tmp_path)
    assert (tmp_path / "mlruns" / "mlflow.db").exists()


def begin_tracking(place, key):
    """A process that makes a run of an experiment of its own."""
    program = "import sys; from pipeline.tracking.mlflow_run import MlflowRun, Place; "
    program += "MlflowRun(Place(*sys.argv[1:3]), 'tries of ' + sys.argv[3], 'a', sys.argv[3], None)"
    return Forked(["-c", program, *map(str, place), key], os.environ, REPOSITORY)


def test_a_kill_while_the_database_is_made_leaves_none_that_cannot_be_used(tmp_path):
    database = tmp_path / "mlruns" / "mlflow.db"
    place = Place(f"sqlite:///{database}", str(tmp_path / "artifacts"))
    killed = begin_tracking(place, "key")
    wait_until(lambda: any(path.stat().st_size for path in tmp_path.rglob("mlflow.db")), "a database begun")
    killed.kill()
    killed.wait()
    assert not database.exists()
    run = MlflowRun(place, "tries", "a", "key", None)
    assert MlflowRun(place, "tries", "a", "key", None).run_id == run.run_id


def test_two_first_starts_at_once_share_one_database(tmp_path):
    place = Place(f"sqlite:///{tmp_path}/mlruns/mlflow.db", str(tmp_path / "artifacts"))
    starts = [begin_tracking(place, key) for key in ("first", "second")]
    assert [start.wait(PATIENCE) for start in starts] == [0, 0]
    runs = MlflowClient(tracking_uri=place.uri).search_runs(["1", "2"])
    assert sorted(run.data.tags["deps.run_key"] for run in runs) == ["first", "second"]
    assert [path.name for path in (tmp_path / "mlruns").iterdir()] == ["mlflow.db"]


def test_the_command_tells_that_all_is_there(project, capsys):
    outbox.append(project, "run", {**place_of(None)._asdict(), **NOTHING_SENT})
    print_sync(project, None, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"run": str(project), "complete": True}
    print_sync(project, None, as_json=False)
    assert "MLflow has all of it" in capsys.readouterr().out


def test_without_mlflow_a_run_is_kept_in_its_folder_alone(project):
    tracker = Tracker(project / "runs" / "a", TrackingConfig(mlflow=False), "digits", RECIPE, {})
    tracker.log(1, {"loss/full": 1.0})
    tracker.log_artifact(project / "runs" / "a" / "x")
    assert tracker.close("FINISHED", PATIENCE)
    assert [path.name for path in (project / "runs" / "a").iterdir()] == ["metrics.jsonl"]
    with pytest.raises(NotTrackedError, match="without MLflow"):
        sync(project / "runs" / "a")


def test_the_state_says_how_far_the_run_was_sent(project, client, quick):
    tracker = start(project)
    tracker.log(3, {"loss/full": 1.0})
    assert tracker.close("FINISHED", PATIENCE)
    folder = project / "runs" / "a"
    state = json.loads((folder / MLFLOW).read_text())
    assert state["run_id"] == the_run(client).info.run_id
    assert state["metrics_offset"] == (folder / "metrics.jsonl").stat().st_size
    assert state["marks"] == {"loss/full": 3}


def test_a_damaged_state_is_told_before_all_is_sent_again(project, client, quick, caplog):
    for steps in ([1], [2]):
        tracker = start(project)
        for step in steps:
            tracker.log(step, {"loss/full": 1.0})
        assert tracker.close("FINISHED", PATIENCE)
        state = project / "runs" / "a" / MLFLOW
        state.write_bytes(state.read_bytes()[:100])
    assert caplog.messages == [f"{state}: is damaged; all is sent again, to a new run of MLflow"]
    experiment = client.get_experiment_by_name("once-for-all")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(len(history(client, run.info.run_id, "loss/full")) for run in runs) == [1, 2]


def test_the_state_is_on_the_disk_before_it_counts(project, monkeypatch):
    """A machine that loses power would leave an empty file under the name: then all was sent again, to a new run."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    State("sqlite:///mlflow.db", "once-for-all").save(project)
    assert synced == [f"{project}/.mlflow.json.writing"]


def test_an_unknown_key_of_the_configuration_is_refused():
    with pytest.raises(ValidationError, match="experimant"):
        TrackingConfig(experimant="x")
