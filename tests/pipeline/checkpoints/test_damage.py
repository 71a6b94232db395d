"""A checkpoint is taken up as it was written and for the run that wrote it, or is passed over with a line."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from pipeline.checkpoints.belonging import misfit_of
from pipeline.checkpoints.checkpoint import (
    Checkpoint,
    Counters,
    load_best_checkpoint,
    load_newest_checkpoint,
    save_checkpoint,
)
from pipeline.engines.protocol import TrainingState
from pipeline.errors import RunFailure
from pipeline.files.json_file import CHECKSUM, read_json, write_json
from pipeline.files.whole_file import Digest
from pipeline.methods.schedule import Schedule
from pipeline.recipe.reading import load_recipe
from pipeline.supernet.belonging import without_memory
from pipeline.supernet.networks import build_space

RECIPE = load_recipe(
    Path(__file__).parents[3] / "recipes" / "digits.yaml",
    ["schedule.duration=14 steps", "schedule.full_model_warmup=6 steps", "schedule.epsilon_ramp=2 steps"],
)
SCHEDULE = Schedule(RECIPE.schedule, build_space(RECIPE.space, 10), 5, 0)  # shrinks from step 4 on
NETWORK = without_memory(SCHEDULE.space)
SEGMENT = {"started": "2026-01-01T00:00:00+00:00", "accelerators": 1, "held": 3.0, "seconds": {}}
LEDGER = {"unit": "CPU process hours", "price_per_hour": None, "segments": [SEGMENT]}
MISFIT = misfit_of(SCHEDULE)
Edit = Callable[[dict[str, Any], dict[str, torch.Tensor]], None]


def state() -> TrainingState:
    weights = {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in NETWORK.state_dict().items()}
    return TrainingState(weights, {name: torch.zeros(tensor.shape) for name, tensor in NETWORK.named_parameters()})


def checkpoint(step: int, **counters: int) -> Checkpoint:
    return Checkpoint(Counters(step, len(SCHEDULE.entries(step - 1)), **counters), state(), LEDGER)


@pytest.fixture
def newest(tmp_path: Path) -> Path:
    """The tensors of the newer one of the checkpoints of steps 3 and 9."""
    save_checkpoint(tmp_path, checkpoint(3), keep=2)
    return save_checkpoint(tmp_path, checkpoint(9), keep=2)


def taken_up(path: Path) -> tuple[int, list[str]]:
    """The step that a run goes on from, and what is said."""
    warnings: list[str] = []
    found = load_newest_checkpoint(path.parents[1], warnings, MISFIT)
    assert found is not None
    told = [line.replace(f"{path.parents[1]}/", "") for line in warnings]
    assert all(len(line) < 300 and line.isprintable() for line in told)
    return found.step, told


def rewrite(path: Path, edit: Edit) -> None:
    """Both files of a checkpoint anew, with digests that are right."""
    sidecar, tensors = read_json(path.with_suffix(".json")), load(path.read_bytes())
    edit(sidecar, tensors)
    content = save(tensors)
    path.write_bytes(content)
    write_json(path.with_suffix(".json"), {**sidecar, **Digest.of(content)._asdict()})


def test_what_is_whole_and_of_the_run_is_taken_without_a_word(newest: Path) -> None:
    assert taken_up(newest) == (9, [])


def test_one_written_by_an_earlier_version_is_taken(newest: Path) -> None:
    sidecar = json.loads(newest.with_suffix(".json").read_text())
    del sidecar[CHECKSUM], sidecar["roll_backs"], sidecar["passed_over"], sidecar["entered"]
    sidecar["reorganised"] = True  # all that could happen on entering a phase
    newest.with_suffix(".json").write_text(json.dumps(sidecar))
    assert taken_up(newest) == (9, [])


@pytest.mark.parametrize(
    "edit",
    [{"step": 8}, {"entered": 0}, {"roll_backs": 1}, {"passed_over": 3}, {"ledger": {}}, {"accuracy": 1}],
)
def test_whatever_is_changed_in_its_json_is_told(newest: Path, edit: dict[str, Any]) -> None:
    path = newest.with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **edit}))
    step, [line] = taken_up(newest)
    assert step == 3
    assert line.startswith(
        "checkpoint checkpoints/step-000000009.json is damaged: its content is not that of its checks"
    )
    assert line.endswith("; taking step 3 instead")


def lacking(part: str) -> Edit:
    def edit(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith(part)]:
            del tensors[name]

    return edit


def with_tensor(name: str, tensor: torch.Tensor) -> Edit:
    return lambda _, tensors: tensors.update({name: tensor})


def with_fields(**fields: Any) -> Edit:
    return lambda sidecar, _: sidecar.update(fields)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lacking(""), "the weights are not of the run's network: lacks stem.weight"),
        (lacking("momentum/"), "the momentum is not of the run's network: lacks stem.weight"),
        (lacking("weights/stem_bn.running_mean"), "lacks stem_bn.running_mean"),
        (with_tensor("weights/more", torch.zeros(1)), "has 'more', which it has no place for"),
        (with_tensor("momentum/more", torch.zeros(1)), "the momentum is not of the run's network: has 'more'"),
        (with_tensor("weights/stem.weight", torch.zeros(7)), "stem.weight is float32 [7], not float32 [16, 3, 3, 3]"),
        (with_fields(step=10), "it tells of step 10"),
        (with_fields(entered=0), "at step 9 the entries of 1 phases are done, it tells of 0"),
        (with_fields(passed_over=10), "it tells of 10 steps passed over of 9"),
        (with_fields(step=-9), "step: Input should be greater than or equal to 0"),
        (with_fields(more=1), "more: Extra inputs are not permitted"),
        (with_fields(ledger={"unit": "x" * 5000}), "not a readable ledger (counts in 'xxx"),
        (with_fields(ledger={**LEDGER, "segments": [{**SEGMENT, "held": "nan"}]}), "holds an impossible value"),
    ],
)
def test_what_is_whole_but_cannot_be_of_the_run_is_told(newest: Path, edit: Edit, says: str) -> None:
    rewrite(newest, edit)
    step, [line] = taken_up(newest)
    assert step == 3
    assert says in line
    assert line.endswith("; taking step 3 instead")


def test_channels_sorted_before_their_time_are_told(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, checkpoint(3), keep=2)
    rewrite(path, with_fields(entered=1))
    with pytest.raises(
        RunFailure, match=r"no checkpoint is whole: .* at step 3 the entries of 0 phases are done, it tells"
    ):
        taken_up(path)


def test_a_step_behind_the_end_of_the_run_is_told(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(14), keep=2)
    path = save_checkpoint(tmp_path, checkpoint(15), keep=2)
    step, [line] = taken_up(path)
    assert step == 14
    assert "is damaged: it tells of step 15, the run has 14; or it is of another run" in line


def test_a_run_that_went_back_may_be_at_a_step_where_its_channels_would_be_sorted(tmp_path: Path) -> None:
    gone_back = Checkpoint(Counters(9, 0, roll_backs=1, passed_over=6), state(), LEDGER)
    assert taken_up(save_checkpoint(tmp_path, gone_back, keep=2)) == (9, [])


@pytest.mark.parametrize("load_", [load_newest_checkpoint, load_best_checkpoint])
def test_one_without_its_json_is_told_by_all_who_look(newest: Path, load_: Callable[..., Any]) -> None:
    rewrite(newest.with_name("step-000000003.safetensors"), with_fields(accuracy=50.0))
    newest.with_suffix(".json").unlink()
    warnings: list[str] = []
    assert load_(newest.parents[1], warnings, MISFIT).step == 3
    [line] = warnings
    assert "step-000000009.safetensors is not finished: step-000000009.json is not there (yet)" in line


def test_where_it_is_the_only_one_that_is_told_too(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, checkpoint(3), keep=2).with_suffix(".json").unlink()
    warnings: list[str] = []
    assert load_newest_checkpoint(tmp_path, warnings, MISFIT) is None
    assert [line.split("; ")[1] for line in warnings] == ["there is none before it"]


def test_the_best_is_not_passed_over_in_silence(newest: Path) -> None:
    for path, accuracy in ((newest, 90.0), (newest.with_name("step-000000003.safetensors"), 50.0)):
        rewrite(path, with_fields(accuracy=accuracy))
    newest.with_suffix(".json").write_bytes(b"{")
    warnings: list[str] = []
    assert load_best_checkpoint(newest.parents[1], warnings, MISFIT).step == 3
    assert ["whether it is the best one cannot be told" in line for line in warnings] == [True]


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "device", "huge"])
def test_only_files_of_their_length_are_opened(newest: Path, kind: str, suffix: str) -> None:
    path = newest.with_suffix(suffix)
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    step, [line] = taken_up(newest)
    assert step == 3
    assert path.name in line


def test_many_damaged_ones_are_told_in_one_short_line(tmp_path: Path) -> None:
    for step in range(5):
        save_checkpoint(tmp_path, checkpoint(step), keep=9).write_bytes(b"")
    with pytest.raises(RunFailure) as refused:
        load_newest_checkpoint(tmp_path, [], MISFIT)
    assert "; and 3 more; start again under another name=…" in str(refused.value)
