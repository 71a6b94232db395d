"""The recipe that fine-tunes a subnet of a trained supernet: that of the supernet, changed where it has to be."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import UsageError
from pipeline.recipe.reading import apply_overrides, parse_recipe
from pipeline.recipe.recipe import Recipe, resolved
from pipeline.supernet.space import Space
from pipeline.supernet.subnet import Subnet

DURATION = "5 epochs"  # by default
_RATE = 0.1  # of the supernet's base rate, by default

# What makes it a fine-tuning of this subnet, by section of the recipe; None for all of a section.
_SETTLED: dict[str, tuple[str, ...] | None] = {
    "space": None,
    "model": ("start", "start_classifier"),
    "schedule": ("name", "subnet"),
    "data": ("validation_samples",),
}


def finetuned(
    recipe: Recipe, folder: Path, space: Space, subnet: Subnet, teacher: bool, overrides: Sequence[str]
) -> Recipe:
    """`recipe`, changed so that it trains `subnet` alone from the weights in `folder`, on the images that it names.

    Args:
        recipe: of the run in `folder`, whose supernet is of `space`.
        teacher: have it learn from the full model of these weights, too, frozen.
        overrides: `key=value`, of keys that do not change what is fine-tuned.

    Raises:
        UsageError: for an override that is none, or changes that.
    """
    content = _content(recipe, folder.resolve(), space, subnet, teacher)
    settled = _settled(content)
    apply_overrides(content, overrides)
    changed = parse_recipe(content, "finetune")
    now = _settled(resolved(changed))
    for key, value in now.items():
        if value != settled[key]:
            raise UsageError(
                f"override {key}: is {settled[key]} where {subnet} of {folder} is fine-tuned; for anything else: "
                f"deps train RECIPE schedule.name=single model.start={folder}"
            )
    return changed


def _content(recipe: Recipe, folder: Path, space: Space, subnet: Subnet, teacher: bool) -> dict[str, Any]:
    content = resolved(recipe)
    content["name"] = f"{recipe.name}-{subnet}"
    content["approach"] = f"{recipe.approach}, fine-tuned"
    content["runs"] = str(folder.parent)
    if space.loaded is None:  # else it resizes by itself, to a resolution that is a choice of it
        content["space"]["resolutions"] = [subnet.resolution]
    # Graphs are of the full model and the smallest subnet.
    end = "best" if recipe.data.validation_samples else "last"
    content["model"] |= {"start": str(folder), "start_classifier": "same", "end": end, "cuda_graphs": False}
    content["schedule"] = {
        "name": "single",
        "subnet": str(subnet),
        "kd_ratio": 1.0 if teacher else 0.0,
        "duration": DURATION,
        "learning_rate": {"base": _RATE * recipe.schedule.learning_rate.base},
    }
    content["loss"]["soft"] = None
    content["evaluation"] |= {"every": "1 epochs", "full_when_shrinking": "0 steps"}
    content["checkpoint"] |= {"every": "1 epochs", "keep_best": True}
    return content


def _settled(content: dict[str, Any]) -> dict[str, Any]:
    """The values that no override may change, by dotted key."""
    return {
        f"{section}.{key}": content[section].get(key)
        for section, keys in _SETTLED.items()
        for key in (content[section] if keys is None else keys)
    }
