"""Which keys of a recipe change what is trained. In the others, a resumed run and seeds of one approach may differ."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from data_shards.may_change import MAY_CHANGE
from pipeline.by_name import models_of
from pipeline.recipe.recipe import Recipe


def _marked(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if MAY_CHANGE in field.metadata:
            yield f"{prefix}{name}"
        else:
            for inner in models_of(field.annotation):
                yield from _marked(inner, f"{prefix}{name}.")


NOT_TRAINED = tuple(dict.fromkeys(_marked(Recipe)))  # a key stands for all below it


def is_trained(key: str) -> bool:
    """Whether another value of `key`, dotted, trains other weights."""
    return not any(key == each or key.startswith(f"{each}.") for each in NOT_TRAINED)
