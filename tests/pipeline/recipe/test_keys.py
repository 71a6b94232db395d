"""One list says which keys of a recipe change nothing of what is trained: for going on with a run, and for reports."""

import json
from pathlib import Path

import pytest
import yaml

from pipeline.errors import UsageError
from pipeline.recipe.keys import NOT_TRAINED, is_trained
from pipeline.recipe.reading import load_recipe
from pipeline.recipe.recipe import resolved
from pipeline.reports.run_record import read_run
from pipeline.reports.summary import group
from pipeline.run import folder as run_folder
from tests.pipeline.reports.run_folders import make_run

DIGITS = Path(__file__).parents[3] / "recipes" / "digits.yaml"

ANOTHER = {  # one of each, other than in the recipe
    "runs": "runs=elsewhere",
    "engine": "engine.name=ddp",
    "model.activation_checkpointing": "model.activation_checkpointing=true",
    "tracking": "tracking.experiment=another",
    "cost": "cost.price_per_gpu_hour=3",
    "checkpoint": "checkpoint.keep=7",
    "evaluation": "evaluation.batch_size=7",
    "log_every": "log_every=7 steps",
    "data.shards": "data.shards=elsewhere",
    "data.workers": "data.workers=7",
    "data.prefetch": "data.prefetch=7",
    "data.on_corrupt": "data.on_corrupt=skip",
    "data.max_corrupt": "data.max_corrupt=0.5",
}
TRAINED = (
    "batch_size=7",
    "loss.label_smoothing=0.7",
    "data.augmentation.flip=true",
    "model.dropout=0.7",
    "data.validation_samples=70",
)


def approaches(folder: Path, *overrides: str) -> int:
    """How many approaches a report finds in two runs, the second with `overrides`."""
    runs = []
    for seed, more in enumerate(((), overrides)):
        run = make_run(folder / f"{seed}", seed=seed)
        (run / "config.yaml").write_text(yaml.safe_dump(resolved(load_recipe(DIGITS, [f"seed={seed}", *more]))))
        runs.append(read_run(run))
    return len(group(runs))


@pytest.mark.parametrize("later", ["optimizer.name", "kernels", "loss.label_smoothing"])
def test_a_run_that_began_before_there_was_a_key_is_of_the_same_approach(later: str, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / f"{seed}", seed=seed) for seed in range(2)]
    for seed, run in enumerate(runs):
        content = resolved(load_recipe(DIGITS, [f"seed={seed}"]))
        *section, key = later.split(".")
        if seed:
            del (content[section[0]] if section else content)[key]
        (run / "config.yaml").write_text(yaml.safe_dump(content))
    assert len(group([read_run(run) for run in runs])) == 1


def begun(folder: Path) -> Path:
    """A run that was begun."""
    (folder / "digits").mkdir()
    content = resolved(load_recipe(DIGITS, ["name=digits", f"runs={folder}"]))
    (folder / "digits" / "config.yaml").write_text(yaml.safe_dump(content))
    (folder / "digits" / "run.json").write_text(json.dumps({}))
    return folder


def test_every_key_of_the_list_is_one_of_the_recipe() -> None:
    keys = run_folder.leaves(load_recipe(DIGITS))
    assert set(ANOTHER) == set(NOT_TRAINED)
    for listed in NOT_TRAINED:
        assert any(key == listed or key.startswith(f"{listed}.") for key in keys), listed
        assert not is_trained(listed)


@pytest.mark.parametrize("key", NOT_TRAINED)
def test_runs_that_differ_in_what_is_not_trained_are_seeds_of_one_approach(key: str, tmp_path: Path) -> None:
    assert approaches(tmp_path, ANOTHER[key]) == 1


@pytest.mark.parametrize("key", [key for key in NOT_TRAINED if key != "runs"])  # another place is another run
def test_a_run_goes_on_with_another_value_of_what_is_not_trained(key: str, tmp_path: Path) -> None:
    recipe = load_recipe(DIGITS, ["name=digits", f"runs={begun(tmp_path)}", ANOTHER[key]])
    run_folder.begin(recipe, {}, resume=True)


@pytest.mark.parametrize("override", TRAINED)
def test_what_is_trained_makes_another_approach_and_is_not_gone_on_with(override: str, tmp_path: Path) -> None:
    assert approaches(tmp_path / "report", override) == 2
    recipe = load_recipe(DIGITS, ["name=digits", f"runs={begun(tmp_path)}", override])
    with pytest.raises(UsageError, match=f"was begun with {override.partition('=')[0]}="):
        run_folder.begin(recipe, {}, resume=True)


def test_keys_that_only_begin_alike_are_others() -> None:
    assert is_trained("data.shards_in_another_order")
    assert is_trained("name_of_something")
