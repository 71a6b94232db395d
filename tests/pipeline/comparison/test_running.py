"""Runs of a comparison as processes, by stand-ins: so many at a time, none of them twice, and a failure stops none."""

import signal
import sys
from pathlib import Path

import pytest

from pipeline.comparison import running
from pipeline.comparison.running import own_gpu, shared_threads, start
from pipeline.comparison.seed_run import Task
from pipeline.run.layout import EVALUATION
from pipeline.training.stop_request import StopRequest
from tests.pipeline.comparison.stand_ins import StandIns, runner, seed_runs


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SECONDS_BETWEEN_LOOKS", 0)


def test_each_run_is_trained_then_evaluated_so_many_at_a_time(tmp_path: Path) -> None:
    starts = StandIns()
    found = runner(starts, at_once=2)
    every = seed_runs(tmp_path, Path("data/digits"), 5)
    found.finish(every)
    assert found.failures == []
    assert starts.most == 2
    assert set(starts.places) == {0, 1}
    assert sorted(starts.started) == sorted((m.name, word) for m in every for word in ("training", "evaluating"))
    assert all(starts.started.index((m.name, "training")) < starts.started.index((m.name, "evaluating")) for m in every)
    assert [name for name, word in starts.started if word == "training"] == [m.name for m in every], "in their order"


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    every = seed_runs(tmp_path, Path("data/digits"), 3)
    runner(StandIns(), at_once=1).finish(every[:1])
    (half := StandIns()).codes = {("digits-1", "evaluating"): 1}
    runner(half, at_once=1).finish(every[1:2])
    starts = StandIns()
    runner(starts, at_once=1).finish(every)
    assert starts.started == [("digits-1", "evaluating"), ("digits-2", "training"), ("digits-2", "evaluating")]


def test_a_failing_run_is_named_with_its_exit_code_and_log_and_stops_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts = StandIns()
    starts.codes = {("digits-0", "training"): 2, ("digits-1", "evaluating"): -signal.SIGKILL}
    found = runner(starts, at_once=1)
    every = seed_runs(tmp_path, Path("data/digits"), 3)
    found.finish(every)
    assert [(each.seed_run.name, each.exit_code) for each in found.failures] == [("digits-0", 2), ("digits-1", 137)]
    told = capsys.readouterr().err.replace("\n", " ")
    assert f"digits-0: training ended with exit code 2; see {tmp_path}/logs/digits-0.txt" in told
    assert (every[2].folder / EVALUATION).exists()
    assert ("digits-0", "evaluating") not in starts.started


def test_what_ends_well_and_leaves_nothing_has_failed_and_is_not_started_for_ever(tmp_path: Path) -> None:
    starts = StandIns()
    starts.does_nothing = True
    found = runner(starts, at_once=1)
    found.finish(seed_runs(tmp_path, Path("data/digits"), 1))
    assert [each.exit_code for each in found.failures] == [0]
    assert starts.started == [("digits-0", "training")]


def test_a_signal_is_handed_on_and_nothing_is_started_after_it(tmp_path: Path) -> None:
    starts, stop = StandIns(), StopRequest()
    starts.looks = 1000

    def second() -> None:
        if len(starts.started) == 2:
            stop.signal = signal.SIGINT

    starts.on_start = second
    found = runner(starts, at_once=2, stop=stop)
    found.finish(seed_runs(tmp_path, Path("data/digits"), 5))
    assert [program.signals for program in starts.programs] == [[signal.SIGTERM], [signal.SIGTERM]]
    assert found.failures == [], "who was told to stop has not failed"
    found.finish(seed_runs(tmp_path, Path("data/digits"), 5))
    assert len(starts.started) == 2


def test_processes_share_processors_and_have_gpus_of_their_own() -> None:
    assert shared_threads(2, 8) == {"OMP_NUM_THREADS": "4"}
    assert shared_threads(8, 2) == {"OMP_NUM_THREADS": "1"}
    assert shared_threads(1, 8) == {}
    assert [own_gpu(["4", "6"], place) for place in range(3)] == [
        {"CUDA_VISIBLE_DEVICES": gpu} for gpu in ("4", "6", "4")
    ]
    assert own_gpu(["0"], 1) == own_gpu([], 1) == {}


def test_output_is_added_to_the_log(tmp_path: Path) -> None:
    [seed_run] = seed_runs(tmp_path, Path("data/digits"), 1)
    task = seed_run.next_task()
    assert task is not None
    assert task.command[:3] == (sys.executable, "-m", "deps_command")
    with open(tmp_path / "lock", "w") as lock:
        starts = start(lock.fileno(), at_once=1)
        for word in ("one", "two"):
            program = starts(seed_run, Task("printing", (sys.executable, "-c", f"print('{word}')")), 0)
            program.wait(600)  # pyright: ignore
    assert seed_run.log.read_text() == "one\ntwo\n"
