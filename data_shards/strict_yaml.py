"""Reads YAML that people have written, and refuses in one line what PyYAML would let pass, or never finish reading.

Refused are keys that occur twice, merge keys (as one does not see what overrides what), numbers that are too long for a
computer, and nesting and aliases that only serve to take memory.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from data_shards.store.regular_file import open_regular

_MOST_BYTES = 256 << 10  # of a file: a hundred recipes
_EXPANDED = 4  # characters for each of its bytes at most, with every alias written out
_OF_A_NODE = 100  # characters that each value, list and mapping counts for, besides its text
_MOST_DEPTH = 50
_MOST_DIGITS = 100  # characters of a number

_HIDDEN = yaml.reader.Reader.NON_PRINTABLE  # no text may contain them, neither as they are nor as escapes
_TAG = "tag:yaml.org,2002:"
_PLAIN = {"null", "bool", "int", "float", "str", "timestamp", "seq", "map"}
_TOLD = {"merge": "merge keys (<<) are not read: write the keys out"}

# What PyYAML's own constructors raise for a tag that does not fit its value: `!!int abc`, `!!bool maybe`, month 99.
_NO_VALUE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


class NotYaml(ValueError):  # noqa: N818 (named for what it tells)
    """A text is not YAML, or has something in it that is not read here; one short line says where and why."""


def read_yaml(path: Path, most_bytes: int = _MOST_BYTES) -> Any:
    """The value in a YAML file of at most that many bytes, of plain Python types.

    Raises:
        NotYaml: the file is not YAML that is read here; the text does not name the file.
        OSError: the file cannot be read (see `open_regular`).
    """
    with open(open_regular(path), "rb") as file:
        if os.fstat(file.fileno()).st_size > most_bytes:
            raise NotYaml(f"is larger than {most_bytes >> 10} KiB")
        content = file.read(most_bytes + 1)
    try:
        return parse_yaml(content.decode("utf-8"), most_bytes)
    except UnicodeDecodeError as error:
        raise NotYaml(f"is not a text file (no UTF-8 at byte {error.start})") from None


def parse_yaml(text: str, most: int = _MOST_BYTES) -> Any:
    """The value in a YAML text of at most that many characters, of plain Python types.

    Raises:
        NotYaml: the text is not YAML that is read here.
    """
    if len(text) > most:
        raise NotYaml(f"is longer than {most >> 10} KiB")
    try:
        loader = _Loader(text, _EXPANDED * most)
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
    """PyYAML's loader, but with bounds on size and depth, and without values that get lost."""

    def __init__(self, text: str, most_expanded: int) -> None:
        super().__init__(text)
        self._most_expanded = most_expanded
        self._depth = 0
        self._expanded = 0  # so far
        self._sizes: dict[yaml.Node, int] = {}  # of finished nodes, with aliases written out

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
        if self._expanded > self._most_expanded:
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
            # Constructed at once, and not later by a generator of PyYAML's, so that errors are raised here.
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
