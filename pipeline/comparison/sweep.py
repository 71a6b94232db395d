"""`KEY=V1,V2,V3`: a key of a recipe, and the values that it is to have in turn."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from data_shards.one_line import shown
from data_shards.strict_yaml import NotYaml, parse_yaml
from pipeline.errors import UsageError


@dataclass(frozen=True)
class Sweep:
    """A dotted key and its values."""

    key: str
    values: tuple[Any, ...]

    def override(self, value: Any) -> str:
        """The override that gives the key this value."""
        return f"{self.key}={json.dumps(value, ensure_ascii=False)}"


def sweep_of(option: str, text: str | None) -> Sweep | None:
    """What `option` was given as `text`, if it was; values are YAML, with commas between them.

    Raises:
        UsageError: it is no key with values, or a value comes twice.
    """
    if text is None:
        return None
    key, equals, values = text.partition("=")
    try:
        found = parse_yaml(f"[{values}]") if key and equals else None
    except NotYaml as error:
        raise UsageError(f"{option} {shown(text)}: {error}") from None
    if not isinstance(found, list) or not found:
        raise UsageError(f"{option} {shown(text)}: must be KEY=V1,V2,…, such as schedule.learning_rate.base=0.05,0.1")
    words = [in_a_name(value) for value in found]
    if again := next((word for word in words if words.count(word) > 1), None):
        raise UsageError(f"{option} {shown(text)}: has two values that would both be called '{again}' in names of runs")
    return Sweep(key.strip(), tuple(found))


def in_words(value: Any) -> str:
    """A value as people write it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def in_a_name(value: Any) -> str:
    """A value as a part of a run's name: `1 epochs` is `1_epochs`, `25%` is `25`."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", in_words(value)).strip("_") or "none"
