"""JSON files of ours: written whole with a checksum, read strictly. What they hold is what was written, or is refused.

The member `checksum` is the SHA-256 of the others, in a form that does not depend on spaces and order: a person may
lay the file out anew. Where it is missing, an earlier version wrote the file, or somebody took it out to change
the rest on purpose.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import TypeAdapter, ValidationError

from data_shards.one_line import one_line, shown
from data_shards.store.regular_file import read_regular
from pipeline.files.whole_file import DamagedError, write_whole

CHECKSUM = "checksum"
_KIND = "sha256:"  # begins its value, so that it is known for what it is under a damaged name, too
_MOST_BYTES = 1 << 24
_DEEPEST = 32  # levels of lists and objects
_MOST_DIGITS = 18  # of a whole number: it fits into 64 bits

T = TypeVar("T")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` whole or not at all, with its checksum.

    Raises:
        OSError: naming `path`, which cannot be written.
        DamagedError: for values that `read_json` would not take, as NaN.
    """
    plain = parse_json(json.dumps(content))
    text = json.dumps({**plain, CHECKSUM: _checksum(plain)}, indent=1, ensure_ascii=False)
    write_whole(path, text.encode() + b"\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file, without its checksum, which is checked where there is one.

    Raises:
        OSError: naming `path`, which cannot be read, is no regular file or is far too large.
        DamagedError: it is not strict JSON, a key comes twice, or the checksum is that of another content.
    """
    try:
        content = parse_json(read_regular(path, _MOST_BYTES).decode())
    except UnicodeDecodeError as error:
        raise DamagedError(f"not UTF-8 text (byte {error.start})") from None
    if not isinstance(content, dict):
        return content
    if CHECKSUM not in content:
        if any(isinstance(value, str) and value.startswith(_KIND) for value in content.values()):
            raise DamagedError(f"the name of its {CHECKSUM} is another")
        return content
    if content.pop(CHECKSUM) != _checksum(content):
        raise DamagedError(
            f"its content is not that of its {CHECKSUM}; whoever changed it on purpose takes that line out"
        )
    return content


def parse_json(text: str) -> Any:
    """Strict JSON: no key twice, no NaN or infinity, no numbers beyond 64 bits, bounded nesting, text that is Unicode.

    Raises:
        DamagedError: for anything else.
    """
    try:
        content = json.loads(
            text, object_pairs_hook=_unique, parse_int=_whole, parse_float=_finite, parse_constant=_no_number
        )
    except json.JSONDecodeError as error:
        raise DamagedError(f"not JSON ({error.msg}, line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise DamagedError(f"nested more than {_DEEPEST} deep") from None
    _check(content, _DEEPEST)
    return content


def in_json(value: float) -> float | str:
    """A figure as strict JSON has it, which knows no others than finite numbers; `float` is the inverse."""
    return value if math.isfinite(value) else str(value)  # "nan", "inf", "-inf"


def checked(content: Any, shape: TypeAdapter[T]) -> T:
    """`content` as the type of `shape`.

    Raises:
        DamagedError: naming the first value that is of another.
    """
    try:
        return shape.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DamagedError(one_line(f"{where}: {first['msg']}" if where else first["msg"], 160)) from None


def _checksum(content: dict[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return _KIND + hashlib.sha256(canonical.encode()).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(key, times)] = Counter(key for key, _ in pairs).most_common(1)
        raise DamagedError(f"the key {shown(key)} comes {times} times")
    return found


def _whole(digits: str) -> int:
    if (count := len(digits.removeprefix("-"))) > _MOST_DIGITS:
        raise DamagedError(f"a number of {count} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _no_number(shown(digits))


def _no_number(text: str) -> NoReturn:
    raise DamagedError(f"{text} is no finite number")


def _check(value: Any, deepest: int) -> None:
    """Depth, and whether all text can be written: half a surrogate pair cannot."""
    if isinstance(value, dict | list):
        if not deepest:
            raise DamagedError(f"nested more than {_DEEPEST} deep")
        for each in (*value, *value.values()) if isinstance(value, dict) else value:
            _check(each, deepest - 1)
    elif isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise DamagedError(f"text that is not Unicode: {shown(value)}") from None
