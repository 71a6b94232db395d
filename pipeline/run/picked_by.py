"""Whether the predictor that a run picks subnets by stays the same, over its processes and over its starts."""

from __future__ import annotations

from data_shards.store.regular_file import read_regular
from pipeline.errors import UsageError
from pipeline.files.whole_file import Digest
from pipeline.recipe.recipe import Recipe

_MOST_BYTES = 1 << 24


def predictor_digest(recipe: Recipe) -> str | None:
    """SHA-256 of the file that the recipe names; None where it names none.

    Raises:
        UsageError: where it cannot be read.
    """
    path = recipe.schedule.predictor
    try:
        return None if path is None else Digest.of(read_regular(path, _MOST_BYTES)).sha256
    except OSError as error:
        raise UsageError(f"schedule.sampling.predictor: {path}: {error.strerror}; deps predictor makes one") from None


def check_predictor(recipe: Recipe, begun_with: str | None) -> None:
    """Raises UsageError where the run was begun with a file of another SHA-256."""
    if (now := predictor_digest(recipe)) != begun_with:
        raise UsageError(
            f"schedule.sampling.predictor: {recipe.schedule.predictor} is not the one that {recipe.folder} was begun "
            f"with (its SHA-256 is {str(now)[:12]}…, not {str(begun_with)[:12]}…)"
        )
