"""Going back to a checkpoint: what is told where that cannot be done. Runs that go back are in `tests/faults`."""

from pathlib import Path

import pytest
import torch

from pipeline.config import Recipe, load_recipe
from pipeline.engines.processes import Processes
from pipeline.errors import RunFailure
from pipeline.training.checkpoint import FOLDER, Progress
from pipeline.training.roll_back import roll_back
from pipeline.training.window import NotFinite

DIGITS = Path(__file__).parents[3] / "recipes" / "digits.yaml"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load_recipe(DIGITS, [f"runs={tmp_path}", "checkpoint.roll_backs=1"])


def complaint(recipe: Recipe) -> str:
    alone = Processes(0, 1, torch.device("cpu"))
    with pytest.raises(RunFailure) as refused:
        roll_back(recipe, alone, Progress(step=6), NotFinite("loss is nan at step 5"))
    return str(refused.value)


def test_without_a_checkpoint_the_loss_is_told(recipe: Recipe) -> None:
    assert complaint(recipe).startswith("loss is nan at step 5; there is no checkpoint yet to go back to")


def test_where_no_checkpoint_is_whole_the_loss_is_told_as_well(recipe: Recipe) -> None:
    folder = recipe.folder / FOLDER
    folder.mkdir(parents=True)
    (folder / "step-000000004.json").write_text("{}")
    assert complaint(recipe).startswith("loss is nan at step 5; no checkpoint is whole: ")
