"""A trained or imported supernet, opened with the images that it is evaluated on."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from data_shards.config import DataConfig
from data_shards.one_line import shown
from data_shards.open_data import Data, open_data
from pipeline.commands.imported_data import AUTO, imported_data
from pipeline.errors import UsageError
from pipeline.evaluation.config import EvaluationConfig
from pipeline.recipe.recipe import Recipe
from pipeline.run.folder import check_data, read_recipe
from pipeline.run.layout import CONFIG, SPACE
from pipeline.supernet.hub import on_disk
from pipeline.supernet.store import load_supernet
from pipeline.supernet.supernet import Supernet


class Opened(NamedTuple):
    """A supernet with its images.

    Attributes:
        recipe: that it was trained by; None where it has none, as imported ones.
        config: how images are shown to it.
    """

    recipe: Recipe | None
    supernet: Supernet
    config: DataConfig
    evaluation: EvaluationConfig
    data: Data

    @property
    def is_static(self) -> bool:
        """Whether it is a single network, whose batch-norm statistics are its own."""
        return self.supernet.space.largest() == self.supernet.space.smallest()


def open_supernet(folder: Path, shards: Path | None, convention: str) -> Opened:
    """The supernet in `folder`, and its run's images or `shards`.

    Args:
        shards: the data set of a supernet that has no recipe.
        convention: by which it is shown; see `imported_data`.

    Raises:
        UsageError: where `folder` is no finished run, its data set is another one now, or `shards` do not go with it.
    """
    if shards is None and convention != AUTO:
        raise UsageError(f"--convention {shown(convention)}: goes with --data; a run shows images as its recipe says")
    recipe = _recipe(on_disk(folder), shards)
    supernet = load_supernet(folder)
    if recipe is not None:
        data = open_data(recipe.data)
        identity = {split.name: split.entry.index_sha256 for split in (data.train, data.test)}
        check_data(folder, identity, recipe.data.shards)
        return Opened(recipe, supernet, recipe.data, recipe.evaluation, data)
    assert shards is not None
    config = imported_data(supernet.space, shards, convention)
    data = open_data(config)
    if (found := data.test.num_classes) != supernet.space.classes:
        raise UsageError(f"--data {shards}: has {found} classes, {folder} tells {supernet.space.classes} apart")
    return Opened(None, supernet, config, EvaluationConfig(), data)


def _recipe(folder: Path, shards: Path | None) -> Recipe | None:
    """The recipe of the run in `folder`; None for a supernet that has none, for which `shards` are given."""
    is_run, is_saved = (folder / CONFIG).exists(), (folder / SPACE).exists()
    if is_run and shards is not None:
        raise UsageError(f"--data {shards}: is for a supernet without a recipe; {folder} has the data set of its run")
    if is_saved and not is_run and shards is None:
        raise UsageError(f"{folder / CONFIG}: is not there; a supernet without a recipe needs --data SHARDS")
    return read_recipe(folder) if shards is None else None
