"""What was recorded: values as JSON, packed, and on which processor they were computed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"


def write(name: str, content: Any) -> None:
    """Write `content` as data/NAME.json.gz; the same content gives the same bytes."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    (DATA / f"{name}.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def read(name: str) -> Any:
    """What `write` wrote."""
    return json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))
