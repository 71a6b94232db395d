"""The weights that a run begins with, where its recipe names some: whether they fit, and are those of before."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import UsageError
from pipeline.recipe.recipe import Recipe
from pipeline.recipe.schedule_of import starting_weights
from pipeline.run.description import RunStart, read_description
from pipeline.run.layout import CONFIG, SPACE
from pipeline.supernet.belonging import without_memory
from pipeline.supernet.origin import Origin
from pipeline.supernet.space import Space
from pipeline.supernet.store import digest_of, origin_of


def check_start(recipe: Recipe, space: Space, has_begun: bool) -> RunStart | None:
    """The weights that the run begins with, or has begun with; None where they are drawn.

    Args:
        has_begun: whether they were loaded by an earlier start, so that they are not needed any more.

    Raises:
        UsageError: where they are not there, do not fit, or are others than before. RunFailure: where they are damaged.
    """
    load = starting_weights(recipe)
    if load is None:
        return None
    earlier = read_description(recipe.folder).start if (recipe.folder / CONFIG).exists() else None
    if has_begun and earlier is not None and not (load.folder / SPACE).exists():
        return earlier
    load.fitted(without_memory(space).state_dict())
    now = RunStart(sha256=digest_of(load.folder), origin=origin_of(load.folder))
    if earlier is not None and earlier.sha256 != now.sha256:
        raise UsageError(
            f"model.start: the weights in {load.folder} are not those that {recipe.folder} was begun with "
            f"(their SHA-256 is {now.sha256[:12]}…, not {earlier.sha256[:12]}…)"
        )
    return now


def note_of(start: RunStart | None, folder: Path) -> list[str]:
    """The line that goes with weights which others have made, where the run in `folder` begins with such."""
    return [start.origin.note(folder)] if start and start.origin else []


def origin_of_trained(start: RunStart | None) -> Origin | None:
    """The origin of what a run trains: that of the weights it began with."""
    return start.origin.model_copy(update={"besides": None}) if start and start.origin else None
