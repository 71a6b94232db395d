"""A recipe as a file that `deps train` takes: every key with its value, none left to a default."""

from __future__ import annotations

from pathlib import Path

import yaml

from pipeline.files.whole_file import write_whole
from pipeline.recipe.recipe import Recipe, resolved


def write_recipe(path: Path, recipe: Recipe, head: str) -> None:
    """Write `recipe` whole or not at all, under a line of comment.

    Raises:
        OSError: naming `path`, which cannot be written.
    """
    text = yaml.safe_dump(resolved(recipe), sort_keys=False, allow_unicode=True)
    write_whole(path, f"# {head}\n{text}".encode())
