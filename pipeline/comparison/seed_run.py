"""One run of a comparison: what is still to be done for it, and the command that does it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from pipeline.comparison.folder import CHOICE, LOGS, RECIPES, RUNS
from pipeline.errors import RunFailure, UsageError
from pipeline.recipe.recipe import Recipe
from pipeline.recipe.writing import write_recipe
from pipeline.run.divergence import has_diverged
from pipeline.run.layout import EVALUATION, VALIDATION
from pipeline.supernet.store import is_saved

_DEPS = (sys.executable, "-m", "deps_command")


@dataclass(frozen=True)
class Task:
    """What a process is started for, in a word, and its command."""

    word: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class SeedRun:
    """A run, its recipe as a file, and the log of all that was started for it.

    Attributes:
        chooses: whether it is for choosing, and is evaluated on validation images, never on the test split.
    """

    recipe: Recipe
    file: Path
    log: Path
    chooses: bool

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def folder(self) -> Path:
        return self.recipe.folder

    def is_trained(self) -> bool:
        """Whether its training has ended; so it has where the weights are damaged, which whoever reads them tells."""
        try:
            return is_saved(self.folder)
        except RunFailure:
            return True

    def has_diverged(self) -> bool:
        """Whether its training ended at a loss that is not finite, where it would end again."""
        return not self.is_trained() and has_diverged(self.folder)

    def next_task(self) -> Task | None:
        """What is to be done next; None where it is trained and evaluated, or for choosing and has diverged."""
        if self.chooses and self.has_diverged():
            return None
        if not self.is_trained():
            return Task("training", (*_DEPS, "train", str(self.file), "--resume"))
        if not (self.folder / (VALIDATION if self.chooses else EVALUATION)).exists():
            on = ("--validation",) if self.chooses else ()
            return Task("evaluating", (*_DEPS, "evaluate", str(self.folder), *on))
        return None


def seed_run_in(folder: Path, recipe: Recipe, seed: int, value_in_name: str | None = None) -> SeedRun:
    """The run of `recipe` with `seed` in the comparison's folder; its recipe is written there.

    Args:
        value_in_name: of a run that is for choosing: what it is told apart by.

    Raises:
        UsageError: where the recipe cannot be written.
    """
    chooses = value_in_name is not None
    name = "-".join([recipe.name, *([value_in_name] if value_in_name is not None else []), str(seed)])
    own = recipe.model_copy(update={"name": name, "seed": seed, "runs": folder / (CHOICE if chooses else RUNS)})
    file, log = folder / RECIPES / f"{name}.yaml", folder / LOGS / f"{name}.txt"
    try:
        for path in (file, log):
            path.parent.mkdir(parents=True, exist_ok=True)
        write_recipe(file, own, f"{recipe.approach}, seed {seed}. command: deps train {file} --resume")
    except OSError as error:
        raise UsageError(f"--output {folder}: cannot be written: {error.strerror}") from None
    return SeedRun(own, file, log, chooses)
