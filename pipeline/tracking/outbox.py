"""`outbox.jsonl`: what a run wants its tracking server to have besides metrics, in order.

Written on the training thread in microseconds, sent from there in the background, and kept: after a kill, or with a
server that was dead to the end, it still says what is to be sent.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from data_shards.store.regular_file import open_regular
from pipeline.files.sealed_line import sealed, unsealed
from pipeline.files.whole_file import failures_named
from pipeline.run.layout import OUTBOX

LINE_START = '{"kind": '

# What an entry of each kind holds besides its kind.
_KEYS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "run": {
        "uri": str,  # absolute, as all paths in it
        "artifacts": (str, type(None)),  # where a local database keeps them; a server knows a place itself
        "experiment": str,
        "name": str,
        "params": dict,
        "tags": dict,
    },
    "experiment": {"experiment": str},
    "artifact": {"path": str, "folder": (str, type(None))},
    "status": {"status": str},
}


def append(run_folder: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Append one entry: its keys are those of its kind, in `_KEYS`.

    A "run" is one start of it, and where it is tracked. An "experiment" is the one to track it in from here on, until a
    start names another than the start before.
    """
    path = run_folder / OUTBOX
    with failures_named(path), open(open_regular(path, os.O_RDWR | os.O_APPEND | os.O_CREAT), "ab+") as file:
        if file.tell() > 0:
            file.seek(-1, 2)
            if file.read(1) != b"\n":  # an entry torn by a kill: end it, so that this one gets a line of its own
                file.write(b"\n")
        file.write((sealed({"kind": kind, **content}) + "\n").encode())


def parse(line: str) -> dict[str, Any] | None:
    """One line of the outbox; None when it is no entry: torn, damaged, or with keys other than those of its kind."""
    try:
        entry = unsealed(line)
        keys = _KEYS[entry["kind"]]
    except (ValueError, TypeError, KeyError):
        return None
    if entry.keys() != {"kind", *keys}:
        return None
    return entry if all(isinstance(entry[name], kind) for name, kind in keys.items()) else None


def artifact_entry(run_folder: Path, path: Path, folder: str | None) -> dict[str, Any]:
    """The content of an "artifact" entry; a path in the run folder is kept relative, so that the run can be moved."""
    path, run_folder = path.resolve(), run_folder.resolve()
    kept = path.relative_to(run_folder) if path.is_relative_to(run_folder) else path
    return {"path": str(kept), "folder": folder}


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A recipe as params: nested keys joined by dots, leaves as text."""
    flat: dict[str, str] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = str(value)
    return flat
