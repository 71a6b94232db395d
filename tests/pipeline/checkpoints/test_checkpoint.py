"""A checkpoint is whole or not there, and damage is named and passed over."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pipeline.checkpoints.checkpoint import (
    Checkpoint,
    Counters,
    load_best_checkpoint,
    load_newest_checkpoint,
    prepare_checkpoint,
    save_checkpoint,
)
from pipeline.engines.protocol import TrainingState
from pipeline.errors import RunFailure, UsageError


def checkpoint(step: int) -> Checkpoint:
    weights = {"stem.weight": torch.full((4, 3), float(step)), "stem_bn.running_mean": torch.arange(4.0)}
    momentum = {"stem.weight": torch.full((4, 3), step / 2)}
    counters = Counters(step, entered=int(step > 1), roll_backs=1, passed_over=2 * step)
    return Checkpoint(counters, TrainingState(weights, momentum), {"unit": "CPU process hours"})


def save(folder: Path, *steps: int, keep: int = 3) -> list[Path]:
    return [save_checkpoint(folder, checkpoint(step), keep) for step in steps]


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    warnings: list[str] = []
    return load_newest_checkpoint(folder, warnings), warnings


def step_of(found: Checkpoint | None) -> int:
    assert found is not None
    return found.step


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save(tmp_path, 1, 2)
    found, warnings = newest(tmp_path)
    assert found is not None
    assert (found.counters, found.ledger, warnings) == (Counters(2, True, 1, 4), {"unit": "CPU process hours"}, [])
    for part in ("weights", "momentum"):
        expected, actual = getattr(checkpoint(2).state, part), getattr(found.state, part)
        assert actual.keys() == expected.keys()
        assert all(torch.equal(actual[name], tensor) for name, tensor in expected.items())


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    save(tmp_path, 1, 2, 3, 4, keep=2)
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == [f"step-00000000{step}.{suffix}" for step in (3, 4) for suffix in ("json", "safetensors")]


def test_nothing_saved_is_no_error(tmp_path: Path) -> None:
    assert newest(tmp_path) == (None, [])


@pytest.mark.parametrize("damage", ["cut in half", "one bit flipped", "gone", "sidecar cut", "sidecar wrong"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_taken(damage: str, tmp_path: Path) -> None:
    *_, path = save(tmp_path, 1, 2)
    content = path.read_bytes()
    if damage == "cut in half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "one bit flipped":
        path.write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif damage == "gone":
        path.unlink()
    elif damage == "sidecar cut":
        path.with_suffix(".json").write_text('{"step": 2, "by')
    else:
        path.with_suffix(".json").write_text('{"step": "2", "entered": 1}')
    found, warnings = newest(tmp_path)
    assert step_of(found) == 1
    assert len(warnings) == 1
    assert "step-000000002" in warnings[0]
    assert "taking step 1 instead" in warnings[0]


def test_a_checkpoint_without_sidecar_was_never_finished(tmp_path: Path) -> None:
    *_, path = save(tmp_path, 1, 2)
    path.with_suffix(".json").unlink()
    found, warnings = newest(tmp_path)
    told = f"checkpoint {path} is not finished: step-000000002.json is not there (yet); taking step 1 instead"
    assert (step_of(found), warnings) == (1, [told])


def test_damage_everywhere_is_a_failure_that_names_each(tmp_path: Path) -> None:
    for path in save(tmp_path, 1, 2):
        path.write_bytes(b"")
    with pytest.raises(RunFailure, match=r"no checkpoint is whole: .*step-000000002.* 0 bytes of .*step-000000001"):
        newest(tmp_path)


def test_a_folder_that_cannot_be_written_is_named_and_older_checkpoints_stay(tmp_path: Path) -> None:
    save(tmp_path, 1)
    # A folder in the place of the file: what even root cannot overwrite.
    (tmp_path / "checkpoints" / "step-000000002.safetensors" / "x").mkdir(parents=True)
    with pytest.raises(RunFailure, match=r"step-000000002\.safetensors: cannot be written"):
        save(tmp_path, 2)
    assert step_of(newest(tmp_path)[0]) == 1
    assert not list((tmp_path / "checkpoints").glob(".*"))


def test_saving_after_damage_clears_what_was_passed_over_and_what_was_never_finished(tmp_path: Path) -> None:
    """Else damaged newer ones would count among the newest for ever, and crowd out every whole one."""
    *_, damaged = save(tmp_path, 1, 5)
    damaged.write_bytes(b"")
    (damaged.parent / ".step-000000009.safetensors.writing").write_bytes(b"torn")
    (damaged.parent / "step-000000007.safetensors").write_bytes(b"no sidecar")
    save(tmp_path, 2, keep=1)
    assert sorted(path.name for path in damaged.parent.iterdir()) == [
        "step-000000002.json",
        "step-000000002.safetensors",
    ]
    assert step_of(newest(tmp_path)[0]) == 2


def save_evaluated(folder: Path, accuracies: list[float | None], keep: int) -> None:
    for step, accuracy in enumerate(accuracies, start=1):
        save_checkpoint(folder, replace(checkpoint(step), accuracy=accuracy), keep, keep_best=True)


def steps_kept(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in (folder / "checkpoints").glob("*.safetensors"))


def test_the_best_is_kept_besides_the_newest_until_there_is_a_better_one(tmp_path: Path) -> None:
    save_evaluated(tmp_path, [50.0, 70.0, 60.0, None, 65.0], keep=2)
    assert steps_kept(tmp_path) == [2, 4, 5]
    assert load_best_checkpoint(tmp_path, []).step == 2
    assert step_of(newest(tmp_path)[0]) == 5
    save_checkpoint(tmp_path, replace(checkpoint(6), accuracy=70.0), 1, keep_best=True)
    assert steps_kept(tmp_path) == [6]  # of equal ones the newest


def test_without_an_evaluation_there_is_no_best(tmp_path: Path) -> None:
    save_evaluated(tmp_path, [None, None, None], keep=2)
    assert steps_kept(tmp_path) == [2, 3]
    with pytest.raises(UsageError, match="no checkpoint of it was evaluated; leave out --best"):
        load_best_checkpoint(tmp_path, [])


def test_a_damaged_best_is_named(tmp_path: Path) -> None:
    save_evaluated(tmp_path, [70.0, 60.0], keep=1)
    path = tmp_path / "checkpoints" / "step-000000001.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunFailure, match=r"step-000000001\.safetensors is damaged: .*; leave out --best"):
        load_best_checkpoint(tmp_path, [])


def test_what_is_written_is_the_state_when_it_was_prepared(tmp_path: Path) -> None:
    state = checkpoint(3)
    write = prepare_checkpoint(tmp_path, state, keep=1)
    for tensor in (*state.state.weights.values(), *state.state.momentum.values()):
        tensor.zero_()  # as training may do by then
    write()
    found, _ = newest(tmp_path)
    assert found is not None
    assert all(torch.equal(found.state.weights[name], tensor) for name, tensor in checkpoint(3).state.weights.items())
    assert all(torch.equal(found.state.momentum[name], tensor) for name, tensor in checkpoint(3).state.momentum.items())


def test_files_that_are_not_of_its_making_are_neither_taken_nor_removed(tmp_path: Path) -> None:
    *_, older, newest_path = save(tmp_path, 1, 2)
    kept = ["step-best.safetensors", "step-000000001-good.safetensors", "step-000000001 (copy).safetensors"]
    for name in kept:
        shutil.copy(older, older.with_name(name))
        shutil.copy(older.with_suffix(".json"), older.with_name(name).with_suffix(".json"))
    shutil.copy(older, older.with_name("step-1-alone.safetensors"))
    assert step_of(newest(tmp_path)[0]) == 2
    save(tmp_path, 3, keep=2)
    names = {path.name for path in older.parent.glob("*.safetensors")}
    assert names == {*kept, "step-1-alone.safetensors", newest_path.name, "step-000000003.safetensors"}
