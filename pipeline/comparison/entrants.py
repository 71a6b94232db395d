"""What is compared: recipes, each with the values that it is to be compared with, or that are to be chosen from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.comparison.sweep import Sweep, in_a_name, in_words
from pipeline.errors import UsageError
from pipeline.experiment import Experiment, prepare
from pipeline.recipe.reading import load_recipe
from pipeline.recipe.recipe import Recipe

_OURS = {"seed": "--seeds", "runs": "--output"}  # keys that a comparison sets, and the options that say to what


@dataclass(frozen=True)
class Variant:
    """An entrant with one value of the key that is chosen; the only one, with none, where nothing is.

    Attributes:
        value: as people write it.
        planned_macs: of its training, for seed 0, where it was scaled to a budget; else None.
    """

    value: str | None
    recipe: Recipe
    planned_macs: int | None = None


@dataclass(frozen=True)
class Entrant:
    """One row of the comparison.

    Attributes:
        label: what it is called on the page: its approach, with the recipe's name where that is not clear.
        base: the recipe before a value is chosen and before it is scaled.
    """

    name: str
    label: str
    base: Recipe
    variants: tuple[Variant, ...]


def entrants_of(
    files: Sequence[Path], overrides: Sequence[str], runs: Path, vary: Sweep | None, choose: Sweep | None
) -> tuple[Entrant, ...]:
    """Read the recipes.

    Args:
        overrides: of all of them.
        runs: the folder of the runs.
        vary: each recipe once for each value of this, as an entrant of its own.
        choose: each entrant has a variant for each value of this.

    Raises:
        UsageError: as `load_recipe`; for an override that the comparison sets itself, two recipes of one name, and for
            choosing without validation images.
    """
    for override in overrides:
        if (option := _OURS.get(override.partition("=")[0].strip())) is not None:
            raise UsageError(f"override {override}: is set by the comparison, with {option}")
    ours = [*overrides, "seed=0", f"runs={runs}"]
    loaded = [entry for file in files for entry in _read(file, ours, vary)]
    names = [recipe.name for recipe, _ in loaded]
    if again := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"name: '{again}' is that of two recipes; runs are named by it: give one another name")
    approaches = [recipe.approach for recipe, _ in loaded]
    return tuple(
        Entrant(
            recipe.name,
            recipe.approach if approaches.count(recipe.approach) == 1 else f"{recipe.approach} ({recipe.name})",
            recipe,
            tuple(_variants(recipe, load, choose)),
        )
        for recipe, load in loaded
    )


class _Load:
    """Loads a recipe again, with further overrides."""

    def __init__(self, file: Path, overrides: Sequence[str]) -> None:
        self._file, self._overrides = file, overrides

    def __call__(self, *further: str) -> Recipe:
        return load_recipe(self._file, [*self._overrides, *further])


def _read(file: Path, overrides: Sequence[str], vary: Sweep | None) -> Iterator[tuple[Recipe, _Load]]:
    base = load_recipe(file, overrides)
    for value in vary.values if vary else ():
        assert vary is not None
        named = f"name={base.name}-{in_a_name(value)}"
        approach = f"{base.approach}, {vary.key.rpartition('.')[2]} {in_words(value)}"
        load = _Load(file, [*overrides, vary.override(value), named, f"approach={json.dumps(approach)}"])
        yield load(), load
    if vary is None:
        yield base, _Load(file, overrides)


def _variants(recipe: Recipe, load: _Load, choose: Sweep | None) -> Iterator[Variant]:
    if choose is None:
        yield Variant(None, recipe)
        return
    if not recipe.data.validation_samples:
        raise UsageError(
            f"recipe {recipe.name}: data.validation_samples is 0, and --choose chooses on validation images; "
            "give some, for example data.validation_samples=1000"
        )
    for value in choose.values:
        yield Variant(in_words(value), load(choose.override(value)))


def check_comparable(entrants: Sequence[Entrant]) -> None:
    """Make sure that all can be trained, and are measured on the same images.

    Raises:
        UsageError: as training would; where recipes differ in their data set, classes or validation images.
    """
    first: Experiment | None = None
    for entrant in entrants:
        for variant in entrant.variants:
            found = prepare(variant.recipe)
            first = first or found
            if found.identity != first.identity:
                ours, theirs = found.recipe.data.shards, first.recipe.data.shards
                raise _other(entrant, first, "data", f"data.shards {ours}", theirs)
            if found.schedule.space.classes != first.schedule.space.classes:
                ours, theirs = found.schedule.space.classes, first.schedule.space.classes
                raise _other(entrant, first, "classes", f"{ours}", theirs)
            kept, theirs = found.recipe.data.validation_samples, first.recipe.data.validation_samples
            if kept != theirs:
                raise _other(entrant, first, "training images", f"data.validation_samples {kept}", theirs)


def _other(entrant: Entrant, first: Experiment, what: str, ours: str, theirs: object) -> UsageError:
    return UsageError(
        f"recipe {entrant.name}: has other {what} than {first.recipe.name} ({ours}, not {theirs}): "
        "their accuracies cannot be compared"
    )
