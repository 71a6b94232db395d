"""Wherever a recipe is read, nothing of it gets lost, and what is wrong with it names file or key."""

from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.recipe.reading import load_recipe
from pipeline.run.folder import read_recipe
from tests.support.command_line import REPOSITORY, deps, refused

DIGITS = REPOSITORY / "recipes" / "digits.yaml"


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    """A recipe with a key twice, under the name that it has in run folders, too."""
    path = tmp_path / "config.yaml"
    path.write_text(DIGITS.read_text(encoding="utf-8") + "\nseed: 1\nseed: 2\n", encoding="utf-8")
    return path


def test_a_key_given_twice_is_refused_with_both_lines(twice: Path) -> None:
    last = twice.read_text(encoding="utf-8").count("\n")
    line = f"recipe {twice}: lines {last - 1} and {last}: have the same key 'seed'"
    assert refused(deps("train", twice, "--dry-run")) == f"deps: {line}"
    assert refused(deps("submit", twice, "--nodes", 1, "--gpus-per-node", 0, "--dry-run")) == f"deps: {line}"


def test_so_it_is_in_a_run_folder(twice: Path) -> None:
    with pytest.raises(UsageError, match=r"config.yaml: is damaged: lines \d+ and \d+: have the same key 'seed'"):
        read_recipe(twice.parent)


def test_so_it_is_where_only_a_look_at_the_data_is_taken(twice: Path, digits: Path) -> None:
    refusal = refused(deps("shards", "show", digits, "--augmented", twice))
    assert refusal.startswith(f"deps: recipe {twice}: lines ")


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("space={classes: 10, classes: 11}", "override space: lines 1 and 1: have the same key 'classes'"),
        ("seed=!!int abc", "override seed: line 1: 'abc' is no value of !!int"),
        ("seed=" + "1" * 5000, "override seed: line 1: has a number of more than 100 characters"),
        ("data=" + "[" * 600, "override data: line 1: is nested more than 50 deep"),
        ("seed=[1", "override seed: is not YAML: line 1: "),
        ("seed=\udcff", "override seed: is not YAML: line 1: has the character #xdcff"),
    ],
    ids=lambda text: text[:10].encode("ascii", "backslashreplace").decode(),
)
def test_overrides_are_read_as_recipes_are(override: str, complaint: str) -> None:
    with pytest.raises(UsageError) as told:
        load_recipe(DIGITS, [override])
    assert str(told.value).startswith(complaint)
