"""Reads recipes: from YAML, changed from the command line, and refused in one line that names key, value and remedy.

Unknown keys, wrong types and values out of range are refused before anything is built, with the legal ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from data_shards.one_line import shown
from data_shards.strict_yaml import NotYaml, parse_yaml, read_yaml
from pipeline.by_name import mark_of, member, members, models_of
from pipeline.errors import UsageError
from pipeline.recipe.recipe import Recipe

_DEEPEST = 20  # parents of an override's key


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in the YAML file `path`, with `key=value` overrides (`schedule.epsilon_ramp=0`) applied.

    An override of a section's name (`engine.name=ddp`) leaves out the recipe's keys that only the section of the old
    name has. Keys that overrides set are never left out, but refused where the new one does not have them.

    Raises:
        UsageError: one line that names file, key, value and what is legal.
    """
    try:
        content = read_yaml(path)
    except OSError as error:
        raise UsageError(f"recipe {path}: {error.strerror}") from None
    except NotYaml as error:
        raise UsageError(f"recipe {path}: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"recipe {path}: must be a mapping of keys, see recipes/digits.yaml")
    apply_overrides(content, overrides)
    return parse_recipe(content, f"recipe {path}")


def apply_overrides(content: dict[str, Any], overrides: Sequence[str]) -> None:
    """Apply `key=value` overrides to a recipe's content; see `load_recipe`."""
    changes = [_parse(override) for override in overrides]
    _take_sections_over(content, changes)
    for change in changes:
        _apply(content, change)


def parse_recipe(content: dict[str, Any], source: str) -> Recipe:
    """Validate a recipe's content; `source` leads the message of the error.

    Raises:
        UsageError: for the first thing that is wrong, telling how many there are.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        problems = error.errors()
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UsageError(f"{source}: {_line_about(problems[0])}{more}") from None


class _Change(NamedTuple):
    text: str
    parents: tuple[str, ...]
    leaf: str
    value: Any


def _parse(override: str) -> _Change:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(
            f"override {shown(override)}: must be key=value, for example seed=1 or schedule.epsilon_ramp=0"
        )
    *parents, leaf = key.strip().split(".")
    if len(parents) > _DEEPEST or not key.isprintable():
        raise UsageError(f"override {shown(key)}: is no key of a recipe")
    try:
        return _Change(override, tuple(parents), leaf, parse_yaml(text))
    except NotYaml as error:
        raise UsageError(f"override {key.strip()}: {error}") from None


def _take_sections_over(content: dict[str, Any], changes: Iterable[_Change]) -> None:
    """Where a change names another member of a section, leave out the keys that only the recipe's member has."""
    for change in changes:
        section = change.parents[0] if len(change.parents) == 1 else ""
        field, keys = Recipe.model_fields.get(section), content.get(section)
        mark = mark_of(field) if field else None
        if field is None or mark is None or change.leaf != mark.key or not isinstance(keys, dict):
            continue
        old, new = member(field, keys), members(field).get(str(change.value))
        if old and new:
            gone = old.model_fields.keys() - new.model_fields.keys()
            content[section] = {key: value for key, value in keys.items() if key not in gone}


def _apply(content: dict[str, Any], change: _Change) -> None:
    place = content
    for parent in change.parents:
        place = place.setdefault(parent, {})
        if not isinstance(place, dict):
            raise UsageError(f"override {shown(change.text)}: '{parent}' is a value, it has no keys below it")
    place[change.leaf] = change.value


class _Place(NamedTuple):
    """Where in a recipe a problem is.

    Attributes:
        key: as recipes write it, dotted.
        model: what is there, or may be; None at a leaf.
        choices: the members of a section that is told apart by name, where it is not known which of them it is.
        name: of the member that `model` is.
        naming: the key that tells members apart.
    """

    key: str
    model: type[BaseModel] | None
    choices: dict[str, type[BaseModel]]
    name: str | None
    naming: str

    def legal(self) -> list[str]:
        assert self.model is not None
        return sorted(self.model.model_fields)


def _place(location: Sequence[str | int]) -> _Place:
    key: list[str] = []
    model: type[BaseModel] | None = Recipe
    choices: dict[str, type[BaseModel]] = {}
    name: str | None = None
    naming = "name"
    for part in location:
        if choices:  # here pydantic puts the name of the member
            name, model, choices = str(part), choices[str(part)], {}
        elif isinstance(part, int):
            key.append(str(part))
        elif model is not None:  # else it tells of the type that a leaf has, and is no key
            key.append(part)
            field = model.model_fields.get(part)
            models = models_of(field.annotation) if field else []
            choices = members(field) if field and len(models) > 1 else {}
            naming = mark.key if field and (mark := mark_of(field)) else naming
            name, model = None, models[0] if len(models) == 1 else None
    return _Place(".".join(key), model, choices, name, naming)


def _line_about(problem: Any) -> str:
    location, given = problem["loc"], problem["input"]
    place = _place(location)
    if problem["type"] == "extra_forbidden":
        section = _place(location[:-1])
        near = difflib.get_close_matches(location[-1], section.legal(), n=1)
        hint = f" did you mean '{near[0]}'?" if near else ""
        of = f" where {section.naming} is '{section.name}'" if section.name else ""
        return f"{place.key}: unknown key{of};{hint} legal keys: {', '.join(section.legal())}"
    if problem["type"] == "missing":
        return f"{place.key}: is missing"
    if problem["type"] == "union_tag_not_found":
        return f"{place.key}.{place.naming}: is missing; a name out of {', '.join(place.choices)}"
    if problem["type"] == "union_tag_invalid":
        *others, last = map(repr, place.choices)
        name = shown(given[place.naming])
        return f"{place.key}.{place.naming}: input should be {', '.join(others)} or {last}, not {name}"
    if problem["type"] in ("model_type", "model_attributes_type"):
        of = "keys out of " + ", ".join(place.legal()) if place.model else "a name out of " + ", ".join(place.choices)
        return f"{place.key}: must be a mapping with {of}, not {shown(given)}"
    message = problem["msg"].removeprefix("Value error, ")
    instead = "" if isinstance(given, dict) else f", not {shown(given)}"
    return f"{place.key}: {message[:1].lower()}{message[1:]}{instead}" if place.key else message
