"""Reads YAML that people write, and refuses what PyYAML takes in silence, for ever, or with an exception of its own.

Refused are the same key twice, merge keys (what they bring can be overridden unseen), numbers that no computer counts
with, and depths and aliases that exist to take memory.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from data_shards.store.regular_file import open_regular

_MOST_BYTES = 256 << 10  # of a file: a hundred recipes
_MOST_EXPANDED = 4 * _MOST_BYTES  # characters, with every alias written out
_OF_A_NODE = 100  # characters that each value, list and mapping counts for beside its text
_MOST_DEPTH = 50
_MOST_DIGITS = 100  # of a number: what is longer does not fit into a float

_HIDDEN = yaml.reader.Reader.NON_PRINTABLE  # no text may hold them as they are; nor are they read from escapes
_TAG = "tag:yaml.org,2002:"
_PLAIN = {"null", "bool", "int", "float", "str", "timestamp", "seq", "map"}
_TOLD = {"merge": "merge keys (<<) are not read: write the keys out"}

# What PyYAML's own constructors raise for a tag that does not fit its value: `!!int abc`, `!!bool maybe`, month 99.
_NO_VALUE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


class NotYaml(ValueError):  # noqa: N818 (named for what it tells)
    """A text that is no YAML, or none that is read here: one short line that says where and why."""


def read_yaml(path: Path) -> Any:
    """The value in the YAML file `path`, of plain Python types.

    Raises NotYaml, whose text does not name the file; OSError as `open_regular` does.
    """
    with open(open_regular(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > _MOST_BYTES:
            raise NotYaml(f"is larger than {_MOST_BYTES >> 10} KiB")
        content = file.read(_MOST_BYTES + 1)
    try:
        return parse_yaml(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise NotYaml(f"is not a text file (no UTF-8 at byte {error.start})") from None


def parse_yaml(text: str) -> Any:
    """The value that `text` describes, of plain Python types. Raises NotYaml."""
    if len(text) > _MOST_BYTES:
        raise NotYaml(f"is longer than {_MOST_BYTES >> 10} KiB")
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotYaml(f"is not YAML: line {line}: has the character #x{ord(text[error.position]):04x}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}: " if mark else ""
        raise NotYaml(f"is not YAML: {place}{_told(error)}") from None


class _Loader(yaml.SafeLoader):
    """Composes within bounds, and constructs without losing anything."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._expanded = 0  # so far
        self._sizes: dict[yaml.Node, int] = {}  # expanded, of the nodes that are closed

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        before, self._depth = self._expanded, self._depth + 1
        if self._depth > _MOST_DEPTH:
            raise NotYaml(f"line {event.start_mark.line + 1}: is nested more than {_MOST_DEPTH} deep")
        node: Any = super().compose_node(parent, index)
        if isinstance(event, yaml.AliasEvent):
            if node not in self._sizes:
                raise NotYaml(f"line {event.start_mark.line + 1}: *{event.anchor} stands inside of itself")
            self._expanded += self._sizes[node]
        else:
            self._expanded += _OF_A_NODE + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0)
            self._sizes[node] = self._expanded - before
        if self._expanded > _MOST_EXPANDED:
            raise NotYaml(f"line {event.start_mark.line + 1}: so far, with aliases (*) written out, it is too large")
        self._depth -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        place, tag = f"line {node.start_mark.line + 1}", node.tag.removeprefix(_TAG)
        if tag not in _PLAIN:
            raise NotYaml(f"{place}: {_TOLD.get(tag) or f'has the tag {_shown(tag)}, which is not read'}")
        if tag in ("int", "float") and len(node.value) > _MOST_DIGITS:
            raise NotYaml(f"{place}: has a number of more than {_MOST_DIGITS} characters")
        if tag == "str" and (hidden := _HIDDEN.search(str(node.value))):
            raise NotYaml(f"{place}: has the character #x{ord(hidden[0]):04x}")
        try:
            # At once, not later from a generator of PyYAML's, so that what fails does so in here. No node holds itself.
            return super().construct_object(node, deep=True)
        except NotYaml:
            raise
        except _NO_VALUE:
            raise NotYaml(f"{place}: {_shown(node.value)} is no value of !!{tag}") from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[Hashable, int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key, line = self.construct_object(key_node), key_node.start_mark.line + 1
            if not isinstance(key, Hashable):
                raise NotYaml(f"line {line}: a list or mapping is no key")
            if key in lines:
                raise NotYaml(f"lines {lines[key]} and {line}: have the same key {_shown(key_node.value)}")
            lines[key] = line
        return super().construct_mapping(node, deep)


def _told(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or ""
    return f"{error.context}, {problem}" if problem.startswith("but ") else problem


def _shown(text: str) -> str:
    return f"'{text}'" if len(text) <= 40 else f"'{text[:40]}…'"
