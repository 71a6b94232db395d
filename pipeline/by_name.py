"""A section of the recipe that is one of several configurations, told apart by a name: an engine, a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Field, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class ByName:
    """Annotates a union of models, or the one that there is so far: `Annotated[Ddp | Fsdp, ByName(default="ddp")]`.

    Each member has a field of a Literal type, which says what it is called.

    Attributes:
        default: the member that is meant where a recipe names none; None where it must name one.
        key: the field's.
    """

    default: str | None = None
    key: str = "name"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if get_origin(source) in (Union, UnionType):
            source = Annotated[source, Field(discriminator=self.key)]
        return core_schema.no_info_before_validator_function(self.named, handler(source))

    def named(self, content: Any) -> Any:
        """A section's content, with the default name where it has none."""
        return {self.key: self.default, **content} if self.default and isinstance(content, Mapping) else content


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's type is made of: one of a section, several of a union, none of a leaf."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_of(part)]


def mark_of(field: FieldInfo) -> ByName | None:
    """How a field of a model is told apart; None for one that is not."""
    return next((mark for mark in field.metadata if isinstance(mark, ByName)), None)


def members(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """What a field of a model can be, by name; nothing for a field that is not told apart so."""
    if (mark := mark_of(field)) is None:
        return {}
    models = models_of(field.annotation)
    return {name: model for model in models for name in get_args(model.model_fields[mark.key].annotation)}


def member(field: FieldInfo, content: Mapping[str, Any]) -> type[BaseModel] | None:
    """The model that a section's content names; None where there is none of that name."""
    mark = mark_of(field)
    return members(field).get(str(mark.named(content).get(mark.key))) if mark else None
