"""The space that a command is given: by a network's name, or out of a recipe."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import UsageError
from pipeline.recipe.reading import load_recipe
from pipeline.supernet.networks import NETWORKS, build_space, named
from pipeline.supernet.space import Space


def named_space(name: str, width: float | None = None) -> Space:
    """The space of a network's name, or of a recipe file.

    Raises:
        UsageError: naming the legal networks.
    """
    if name in NETWORKS:
        return build_space(named(name, **({} if width is None else {"width": width})))
    if Path(name).suffix in (".yaml", ".yml"):
        if width is not None:
            raise UsageError("--width: is for a network's name; a recipe has its own")
        return build_space(load_recipe(Path(name)).space)
    raise UsageError(f"space '{name}': is no network and no recipe file; networks: {', '.join(NETWORKS)}")
