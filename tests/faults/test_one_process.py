"""What goes wrong on one process only ends all of them, and is told once, as what it is: there, at that step."""

import re
import shutil
from pathlib import Path

import psutil
import pytest

from pipeline.checkpoints.checkpoint import load_best_checkpoint
from pipeline.files.json_file import read_json, write_json
from pipeline.run.divergence import has_diverged
from pipeline.tracking.metrics import read_metrics
from tests.faults.broken_run import ENGINES, STEPS, Run, assert_same, ended
from tests.support.processes import run, small_run, start
from tests.support.progress import steps_logged, wait_for_steps

pytestmark = pytest.mark.distributed

WORKER = Path(__file__).with_name("faulty_worker.py")


def fail(run: Run, *fault: str) -> tuple[list[int], list[str]]:
    _, _, *arguments = run.command
    return ended(start([str(WORKER), *fault, *arguments], run.world))


def test_a_loss_that_is_nan_on_one_process_ends_all_and_names_it(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "nan", 2, "log_every=5 steps")
    # Between two log lines, so that by the next one the losses of all processes are NaN.
    codes, lines = fail(run, "nan", "10", "1")
    assert codes == [1, 1]
    assert len(lines) == 1
    assert re.fullmatch(
        r"pipeline.train: loss is nan at step 10 \(ramp\), full subnet \S+, on process 1; nothing was saved since. .*",
        lines[0],
    )
    assert run.saved() == [4, 8]
    assert 15 not in run.steps_read()
    assert has_diverged(run.folder)
    run.finish()
    assert not has_diverged(run.folder)


DISTRIBUTED = ["{name: fsdp}", *(f"{{name: deepspeed, zero_stage: {stage}}}" for stage in (0, 1, 2, 3))]


@pytest.mark.parametrize(
    ("world", "engine"),
    [
        (1, "{name: single}"),
        (2, "{name: ddp}"),
        *(pytest.param(2, engine, marks=pytest.mark.faults) for engine in DISTRIBUTED),
    ],
)
def test_the_steps_since_the_last_checkpoint_are_passed_over_where_the_recipe_says_so(
    digits: Path, tmp_path: Path, world: int, engine: str
) -> None:
    """Of the same weights as a run whose checkpoint of step 8 is declared to be of step 12, where they went back."""
    run = Run(digits, tmp_path, "back", world, f"engine={engine}", "checkpoint.roll_backs=1", "log_every=5 steps")
    codes, lines = fail(run, "nan", "10", str(world - 1))
    assert (codes, lines) == ([0] * world, [])
    reference = Run(digits, tmp_path, "by_hand", world, f"engine={engine}")
    codes, _ = fail(reference, "nan", "10", "0")
    assert (codes, reference.saved()) == ([1] * world, [4, 8])
    rename_checkpoint(reference.folder / "checkpoints", 8, 12)
    reference.finish()
    assert_same(run.weights(), reference.weights())
    rows = read_metrics(run.folder / "metrics.jsonl")
    assert rows["loss/full"].steps.tolist() == [4, 5, 8, 10, 15, 16, 20, 24, 25, 28, 30, 32], (
        "12 has no loss that could be told"
    )
    assert set(rows["optim/roll_backs"].values) == {1}
    assert set(rows["optim/steps_passed_over"].values) == {4}


def test_a_run_goes_back_as_often_as_it_may(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "back", 1, "checkpoint.roll_backs=1", "checkpoint.every=8 steps", "log_every=2 steps")
    codes, lines = fail(run, "nan", "10,13", "0")
    assert codes == [1]
    assert "loss is nan at step 13 (ramp)" in lines[0]
    assert "the run has gone back 1× already; checkpoint.roll_backs=2 with --resume" in lines[0]
    # The fault is in the data: it comes again, and is passed over with all that failed with it.
    again = Run(digits, tmp_path, "back", 1, "checkpoint.roll_backs=2", "checkpoint.every=8 steps", "log_every=2 steps")
    codes, lines = fail(again, "nan", "2,5", "0")
    assert (codes, lines) == ([0], [])
    assert read_metrics(run.folder / "metrics.jsonl")["optim/steps_passed_over"].values[-1] == 6


@pytest.mark.faults
def test_an_update_that_overflows_right_before_a_checkpoint_is_no_part_of_it(digits: Path, tmp_path: Path) -> None:
    reference = Run(digits, tmp_path, "by_hand", 1)
    codes, lines = fail(reference, "overflow", "11", "0")
    assert (codes, reference.saved()) == ([1], [4, 8])
    assert re.match(
        r"pipeline.train: gradient norm is inf at step 11 \(ramp\), on process 0; nothing was saved since\. ", lines[0]
    )
    rename_checkpoint(reference.folder / "checkpoints", 8, 12)
    reference.finish()
    run = Run(digits, tmp_path, "back", 1, "checkpoint.roll_backs=1")
    assert fail(run, "overflow", "11", "0") == ([0], [])
    assert_same(run.weights(), reference.weights())
    assert read_metrics(run.folder / "metrics.jsonl")["optim/steps_passed_over"].values[-1] == 4


def test_without_a_checkpoint_there_is_nothing_to_go_back_to(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "early", 1, "checkpoint.roll_backs=1", "log_every=1 steps")
    codes, lines = fail(run, "nan", "2", "0")
    assert codes == [1]
    assert lines[0].endswith("there is no checkpoint yet to go back to, see checkpoint.every")


def rename_checkpoint(folder: Path, step: int, other: int) -> None:
    old, new = (folder / f"step-{number:09}" for number in (step, other))
    # As of a run that went back: its channels are sorted before its next step.
    write_json(new.with_suffix(".json"), {**read_json(old.with_suffix(".json")), "step": other, "roll_backs": 1})
    old.with_suffix(".json").unlink()
    old.with_suffix(".safetensors").rename(new.with_suffix(".safetensors"))


@pytest.mark.faults
def test_shards_that_one_process_cannot_read_end_all_after_saving(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "unreadable", 2)
    codes, lines = fail(run, "unreadable", "6", "1")
    assert codes == [1, 1]
    assert lines == ["pipeline.train: /shards/train-000000.tar: Input/output error"]
    assert run.saved() == [4, 6]


def test_a_reader_that_the_system_kills_ends_all_after_saving(digits: Path, tmp_path: Path) -> None:
    endless = ("schedule.duration=4000 steps", "checkpoint.every=4000 steps")
    run = Run(digits, tmp_path, "short", 2, *endless, "data.workers=1")
    processes = run.start()
    wait_for_steps(run.folder, 5, processes)
    reader_of(processes[1].pid).kill()
    codes, lines = ended(processes)
    assert codes == [1, 1]
    assert len(lines) == 1
    assert "pipeline.train: a process that reads ahead on " in lines[0]
    assert run.saved() == run.steps_read()[-1:]


def reader_of(trainer: int) -> psutil.Process:
    [server] = [each for each in psutil.Process(trainer).children() if "forkserver" in " ".join(each.cmdline())]
    return server.children()[0]


def test_processes_that_do_not_find_the_same_checkpoint_train_nothing(digits: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    arguments = [*small_run(digits, Path("runs")), ENGINES[2], "name=apart", "--resume"]
    run(["-m", "pipeline.train", *arguments], 2, cwd=here)

    def resume() -> str:
        codes, lines = ended(start([str(WORKER), "elsewhere", str(there), "1", *arguments], 2, cwd=here))
        assert codes == [1, 1]
        assert len(lines) == 1
        return lines[0]

    assert re.search(r"process 1 on \S+ finds no checkpoint, process 0 on \S+ the checkpoint of step 32: ", resume())
    shutil.copytree(here / "runs", there / "runs")
    (there / "runs" / "apart" / "checkpoints" / "step-000000032.safetensors").write_bytes(b"")
    assert "finds the checkpoint of step 28, process 0 on " in resume()


def test_checkpoints_that_are_all_damaged_are_told_of_once(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "damaged", 2, "checkpoint.keep=1")
    run.finish()
    [checkpoint] = (run.folder / "checkpoints").glob("*.safetensors")
    checkpoint.write_bytes(b"")
    codes, lines = ended(run.start())
    assert codes == [1, 1]
    assert len(lines) == 1
    assert lines[0].startswith("pipeline.train: no checkpoint is whole: ")


def test_a_run_that_goes_on_from_its_end_keeps_its_best_checkpoint(digits: Path, tmp_path: Path) -> None:
    run = Run(digits, tmp_path, "ended", 1, "checkpoint.keep=1")
    run.finish()
    best = load_best_checkpoint(run.folder, [])
    assert best.accuracy is not None
    run.finish()
    assert load_best_checkpoint(run.folder, []).accuracy == best.accuracy


def test_what_an_earlier_start_saves_as_it_leaves_is_taken_up(digits: Path, tmp_path: Path) -> None:
    """Else its steps would be trained again, and their checkpoint removed as one passed over."""
    run = Run(digits, tmp_path, "changed_hands", 1)
    run.finish()
    leaving = tmp_path / "leaving"
    leaving.mkdir()
    for path in (run.folder / "checkpoints").glob(f"step-{STEPS:09d}.*"):
        path.rename(leaving / path.name)
    trained = steps_logged(run.folder)
    assert fail(run, "leaving", str(leaving), "0") == ([0], [])
    assert steps_logged(run.folder) == trained
