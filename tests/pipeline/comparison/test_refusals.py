"""What cannot be compared, or is asked for wrongly, is refused in one line, before anything is trained."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import yaml

from pipeline.commands import compare
from pipeline.comparison import entrants
from pipeline.experiment import Experiment
from pipeline.recipe.recipe import Recipe
from tests.support.command_line import Done, deps, refused

STEPS = "schedule={duration: 32 steps, full_model_warmup: 14 steps, epsilon_ramp: 5 steps, learning_rate: {base: 0.05}}"


@pytest.fixture(autouse=True)
def trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object) -> None:
        raise AssertionError("something was started")

    monkeypatch.setattr(compare, "start", lambda *_: start)


@pytest.fixture
def recipe(digits: Path, tmp_path: Path):
    """Writes a recipe of digits under a name, with other keys."""

    def write(name: str, **keys: object) -> Path:
        content = yaml.safe_load(Path("recipes/digits.yaml").read_text())
        content["data"]["shards"] = str(digits)
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**content, "name": name, **keys}))
        return path

    return write


def asked(folder: Path, *arguments: object) -> Done:
    return deps("compare", STEPS, *arguments, "engine.name=single", "--output", folder / "compared")


def test_recipes_on_different_images_are_refused(recipe, digits: Path, tmp_path: Path) -> None:
    one = recipe("one")
    kept = recipe("kept", data={"shards": str(digits), "validation_samples": 100})
    told = "recipe kept: has other training images than one (data.validation_samples 100, not 0): their accuracies"
    assert told in refused(asked(tmp_path, one, kept))
    assert not (tmp_path / "compared").exists()


@pytest.mark.parametrize(
    ("identity", "classes", "told"),
    [
        (
            {"train": "a", "test": "c"},
            10,
            r"has other data than one \(data.shards .*digits, not .*digits\): their accur",
        ),
        ({"train": "a", "test": "b"}, 100, r"has other classes than one \(100, not 10\): their accuracies cannot be"),
    ],
)
def test_recipes_on_other_data_are_refused_whatever_its_path(
    recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, identity: dict[str, str], classes: int, told: str
) -> None:
    def prepare(recipe: Recipe) -> Experiment:
        other = recipe.name == "two"
        space = SimpleNamespace(classes=classes if other else 10)
        found = SimpleNamespace(
            recipe=recipe,
            identity=identity if other else {"train": "a", "test": "b"},
            schedule=SimpleNamespace(space=space),
        )
        return cast("Experiment", found)

    monkeypatch.setattr(entrants, "prepare", prepare)
    assert re.search(f"recipe two: {told}", refused(asked(tmp_path, recipe("one"), recipe("two"))))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["one", "one"], "name: 'one' is that of two recipes"),
        (["one", "two", "name=x"], "name: 'x' is that of two recipes"),
        (["one", "seed=3"], "override seed=3: is set by the comparison, with --seeds"),
        (["one", "runs=x"], "override runs=x: is set by the comparison, with --output"),
        (["one", "no_key=1"], "no_key: unknown key"),
        (["name=x"], "compare: needs a recipe"),
        (["nowhere.yaml"], "recipe nowhere.yaml: No such file"),
        (["one", "--choose", "optimizer.momentum=0.9,0.8"], "recipe one: data.validation_samples is 0, and --choose"),
        (["one", "data.validation_samples=9", "--choose", "no.key=1"], "no: unknown key"),
        (["one", "--choose", "optimizer.momentum"], "--choose 'optimizer.momentum': must be KEY=V1,V2"),
        (["one", "--vary", "optimizer.momentum=0.9,0.9"], "has two values that would both be called '0.9'"),
        (["one", "--vary", "optimizer.momentum=[0.9"], "--vary 'optimizer.momentum=[0.9': "),
        (["one", "--seeds", "0"], "is no whole number from 1 to 1000"),
        (["one", "--training-macs", "1000"], "recipe one: --training-macs 1000: the shortest run of all phases"),
        (["one", "two", "schedule.epsilon_ramp=20 steps"], "schedule.epsilon_ramp: "),
        (["one", "two", "batch_size=9999"], "batch_size: 9999 is more than the 1438 training samples"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused(recipe, tmp_path: Path, arguments: list[str], told: str) -> None:
    files = {name: recipe(name) for name in ("one", "two")}
    assert told in refused(asked(tmp_path, *(files.get(each, each) for each in arguments)))
    assert not (tmp_path / "compared" / "compare.json").exists()


def test_another_folder_than_a_comparisons_is_refused_and_left_alone(recipe, tmp_path: Path) -> None:
    (tmp_path / "compared").mkdir()
    (tmp_path / "compared" / "thesis.txt").write_text("")
    assert "is not empty, and holds no comparison; choose" in refused(asked(tmp_path, recipe("one")))
    assert [path.name for path in (tmp_path / "compared").iterdir()] == ["thesis.txt"]
    (tmp_path / "compared" / "thesis.txt").unlink()
    (tmp_path / "compared").rmdir()
    (tmp_path / "compared").write_text("")
    assert "compared: Not a directory" in refused(asked(tmp_path, recipe("one")))
