"""Going back to a checkpoint: what is told where that cannot be done. Runs that go back are in `tests/faults`."""

from pathlib import Path

import pytest
import torch

from pipeline.checkpoints.checkpoint import Checkpoint, Counters, save_checkpoint
from pipeline.checkpoints.roll_back import roll_back
from pipeline.engines.protocol import TrainingState
from pipeline.errors import RunFailure
from pipeline.processes.group import Processes
from pipeline.recipe.reading import load_recipe
from pipeline.recipe.recipe import Recipe
from pipeline.run.layout import CHECKPOINTS

DIGITS = Path(__file__).parents[3] / "recipes" / "digits.yaml"
ALONE = Processes(0, 1, torch.device("cpu"))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load_recipe(DIGITS, [f"runs={tmp_path}"])


def complaint(recipe: Recipe) -> str:
    with pytest.raises(RunFailure) as refused:
        roll_back(recipe.folder, 1, ALONE, Counters(step=6), RunFailure("loss is nan at step 5"))
    return str(refused.value)


def test_without_a_checkpoint_the_loss_is_told(recipe: Recipe) -> None:
    assert complaint(recipe).startswith("loss is nan at step 5; there is no checkpoint yet to go back to")


def test_where_no_checkpoint_is_whole_the_loss_is_told_as_well(recipe: Recipe) -> None:
    folder = recipe.folder / CHECKPOINTS
    folder.mkdir(parents=True)
    (folder / "step-000000004.json").write_text("{}")
    assert complaint(recipe).startswith("loss is nan at step 5; no checkpoint is whole: ")


def test_damaged_checkpoints_that_it_goes_back_behind_do_not_count_among_those_to_keep(recipe: Recipe) -> None:
    state = TrainingState({"weight": torch.zeros(2)}, {"weight": torch.zeros(2)})

    def save(counters: Counters) -> Path:
        return save_checkpoint(recipe.folder, Checkpoint(counters, state, {}), keep=2)

    save(Counters(2))
    save(Counters(4)).write_bytes(b"")
    back = roll_back(recipe.folder, 1, ALONE, Counters(step=6), RunFailure("loss is nan at step 5"))
    assert (back.counters.step, back.counters.passed_over) == (6, 4)
    save(back.counters)
    saved = sorted(path.name for path in (recipe.folder / CHECKPOINTS).glob("*.safetensors"))
    assert saved == ["step-000000002.safetensors", "step-000000006.safetensors"]
