"""A comparison's folder: what it compares, and where its runs, recipes and logs are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter

from data_shards.one_line import shown
from pipeline.comparison.entrants import Entrant, Variant
from pipeline.errors import UsageError
from pipeline.files.json_file import checked, read_json, write_json
from pipeline.files.whole_file import DamagedError
from pipeline.recipe.keys import is_trained
from pipeline.recipe.reading import parse_recipe
from pipeline.recipe.recipe import resolved
from pipeline.run.folder import leaves

RECORD, LOCK = "compare.json", "compare.lock"
PAGE, MARKDOWN = "compare.html", "compare.md"
RUNS, CHOICE, RECIPES, LOGS = "runs", "choice", "recipes", "logs"


class _Variant(BaseModel):
    """Its schedule is kept, which planning may have taken minutes for; all else is the recipe's of today."""

    value: str | None
    schedule: dict[str, Any]
    planned_macs: str | None  # as text: they may be more than 64 bits hold


class _Entrant(BaseModel):
    base: dict[str, Any]
    variants: list[_Variant]


class _Record(BaseModel):
    """`compare.json`: what was asked for, by option, and the entrants that came of it, by name."""

    asked: dict[str, str]
    entrants: dict[str, _Entrant]


def check_free(folder: Path) -> None:
    """Make sure that the folder holds a comparison, or nothing.

    Raises:
        UsageError: it holds something else, or cannot be read.
    """
    try:
        names = {each.name for each in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise UsageError(f"--output {folder}: {error.strerror}") from None
    if names - {LOCK} and RECORD not in names:
        raise UsageError(f"--output {folder}: is not empty, and holds no comparison; choose another folder")


def taken_up(
    folder: Path,
    asked: Mapping[str, str],
    entrants: Sequence[Entrant],
    planned: Callable[[], Sequence[Entrant]],
) -> tuple[Entrant, ...]:
    """The entrants as they are trained: as the folder notes them, where it holds this comparison; else as `planned`,
    which is noted there.

    Args:
        asked: options that change what is compared, as texts by their names.
        entrants: as recipes and options give them now.
        planned: gives them scaled to their cost.

    Raises:
        UsageError: the folder holds another comparison, naming the first difference; or cannot be written.
    """
    path = folder / RECORD
    if path.exists():
        record = _read(path)
        _check_same(folder, record, asked, entrants)
        return tuple(_as_noted(each, record.entrants[each.name], path) for each in entrants)
    found = tuple(planned())
    record = _Record(asked=dict(asked), entrants={each.name: _noted(each) for each in found})
    try:
        write_json(path, record.model_dump())
    except OSError as error:
        raise UsageError(f"--output {folder}: cannot be written: {error.strerror}") from None
    return found


def _read(path: Path) -> _Record:
    try:
        return checked(read_json(path), TypeAdapter(_Record))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except DamagedError as damage:
        raise UsageError(f"{path}: is damaged: {damage}; restore it, or choose another --output") from None


def _check_same(folder: Path, record: _Record, asked: Mapping[str, str], entrants: Sequence[Entrant]) -> None:
    def other(was: str, now: str) -> UsageError:
        return UsageError(f"--output {folder}: holds another comparison, {was}, not {now}; choose another folder")

    names = [each.name for each in entrants]
    if sorted(record.entrants) != sorted(names):
        raise other(f"of {', '.join(record.entrants)}", f"of {', '.join(names)}")
    for entrant in entrants:
        base = parse_recipe(record.entrants[entrant.name].base, str(folder / RECORD))
        was, now = leaves(base), leaves(entrant.base)
        for key in sorted(was.keys() | now.keys()):
            if is_trained(key) and was.get(key) != now.get(key):
                raise other(f"{entrant.name} with {key}={shown(was.get(key))}", shown(now.get(key)))
    for option in sorted(record.asked.keys() | asked.keys()):
        was, now = (options.get(option) for options in (record.asked, asked))
        if was != now:
            raise other(
                *(f"without {option}" if value is None else f"{option} {value}".strip() for value in (was, now))
            )


def _as_noted(entrant: Entrant, noted: _Entrant, path: Path) -> Entrant:
    def variant(now: Variant, was: _Variant) -> Variant:
        recipe = parse_recipe({**resolved(now.recipe), "schedule": was.schedule}, str(path))
        return replace(now, recipe=recipe, planned_macs=None if was.planned_macs is None else int(was.planned_macs))

    variants = zip(entrant.variants, noted.variants, strict=True)
    return replace(entrant, variants=tuple(variant(now, was) for now, was in variants))


def _noted(entrant: Entrant) -> _Entrant:
    variants = [
        _Variant(
            value=each.value,
            schedule=resolved(each.recipe)["schedule"],
            planned_macs=None if each.planned_macs is None else str(each.planned_macs),
        )
        for each in entrant.variants
    ]
    return _Entrant(base=resolved(entrant.base), variants=variants)
