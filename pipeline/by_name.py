"""A section of the recipe that is one of several configurations, told apart by `name`: an engine, an optimizer."""

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

    Each member has a field `name` of a Literal type, which says what it is called.

    Attributes:
        default: the member that is meant where a recipe names none.
    """

    default: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if get_origin(source) in (Union, UnionType):
            source = Annotated[source, Field(discriminator="name")]
        return core_schema.no_info_before_validator_function(self.named, handler(source))

    def named(self, content: Any) -> Any:
        """A section's content with the name that is meant."""
        return {"name": self.default, **content} if isinstance(content, Mapping) else content


def models_of(annotation: Any) -> list[type[BaseModel]]:
    """The models that a field's type is made of: one of a section, several of a union, none of a leaf."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models_of(part)]


def members(field: FieldInfo) -> dict[str, type[BaseModel]]:
    """What a field of a model can be, by name; nothing for a field that is not told apart so."""
    if not any(isinstance(mark, ByName) for mark in field.metadata):
        return {}
    models = models_of(field.annotation)
    return {name: model for model in models for name in get_args(model.model_fields["name"].annotation)}


def member(field: FieldInfo, content: Mapping[str, Any]) -> type[BaseModel] | None:
    """The one that a section's content names; None where it names none that there is."""
    name = next((mark.named(content)["name"] for mark in field.metadata if isinstance(mark, ByName)), None)
    return members(field).get(str(name))
