"""Lines of JSON that a file is appended with: each ends with the CRC-32 of what is before it.

A file that grows by a line cannot have one checksum; so damage is found, and told, line by line. Lines of earlier
versions have no seal.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

from pipeline.files.json_file import DamagedError, parse_json

_SEAL = "crc"


def sealed(content: Mapping[str, Any]) -> str:
    """`content` as a line, without its end. Values that JSON does not know are written as text."""
    return _with_seal(json.dumps(content, allow_nan=False, default=str).removesuffix("}"))


def unsealed(line: str) -> dict[str, Any]:
    """The inverse. A line with a damaged seal has a key that it should not have.

    Raises:
        DamagedError: `line` is no object of strict JSON, or its seal is that of another.
    """
    content = parse_json(line)
    if not isinstance(content, dict):
        raise DamagedError("not an object")
    if _SEAL in content and line != _with_seal(line[: -len(_with_seal(""))]):
        raise DamagedError("its CRC is that of another line")
    content.pop(_SEAL, None)
    return content


def is_torn(line: str, start: str) -> bool:
    """Whether `line`, which is no JSON, is what a kill left of one, and not a whole one that is damaged.

    Args:
        start: of all lines in the file.
    """
    if not (line.startswith(start) or start.startswith(line)) or line.endswith("}}") or "\0" in line:
        return False
    # Within its seal a line is known to the letter.
    return _SEAL not in line or (line[-1] != "}" and _with_seal(line[: line.rfind("}") + 1]).startswith(line))


def _with_seal(body: str) -> str:
    return f'{body}, "{_SEAL}": "{zlib.crc32(body.encode()):08x}"}}'
