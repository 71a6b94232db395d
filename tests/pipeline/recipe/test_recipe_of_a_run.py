"""The recipe in a run's folder is the one that was trained, to the last letter, or is called damaged."""

from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.recipe.reading import load_recipe
from pipeline.recipe.recipe import Recipe
from pipeline.run.folder import read_recipe, write
from tests.support.descriptions import DESCRIPTION

DIGITS = Path(__file__).parents[3] / "recipes" / "digits.yaml"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    recipe = load_recipe(DIGITS, [f"runs={tmp_path}", "name=run"])
    write(recipe, DESCRIPTION)
    return recipe


def test_it_is_read_as_it_was_written_and_serves_as_a_recipe_again(recipe: Recipe) -> None:
    assert read_recipe(recipe.folder) == recipe
    assert load_recipe(recipe.folder / "config.yaml") == recipe


@pytest.mark.parametrize("change", ["another number", "its last lines are lost", "one line is lost", "one more line"])
def test_what_is_still_yaml_but_another_recipe_is_told(recipe: Recipe, change: str) -> None:
    path = recipe.folder / "config.yaml"
    lines = path.read_text().splitlines(keepends=True)
    samples = next(line for line in lines if "recalibration_samples" in line)
    changed = {
        "another number": [line.replace("seed: 0", "seed: 1") for line in lines],
        "its last lines are lost": lines[: lines.index("tracking:\n")],  # for which there are defaults
        "one line is lost": [line for line in lines if line != samples],
        "one more line": [*lines, "\n"],
    }[change]
    assert changed != lines
    path.write_text("".join(changed))
    with pytest.raises(
        UsageError, match=r"config\.yaml: is damaged: its lines are not those of the SHA-256 in the fir"
    ):
        read_recipe(recipe.folder)
    path.write_text("".join(changed[1:]))  # on purpose
    assert read_recipe(recipe.folder)


def test_any_bit_that_is_flipped_is_told_or_changes_nothing(recipe: Recipe) -> None:
    path = recipe.folder / "config.yaml"
    written = path.read_bytes()
    first = written.index(b"\n")
    for at in (*range(0, first + 1, 5), *range(first + 1, len(written), 97)):
        path.write_bytes(written[:at] + bytes([written[at] ^ 1 << at % 8]) + written[at + 1 :])
        try:
            assert read_recipe(recipe.folder) == recipe
        except UsageError:
            continue
        assert at <= first, "in the line that tells of the others, the name by which it is known"
