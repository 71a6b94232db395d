"""`deps import`: a published checkpoint as a supernet of ours."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from data_shards.one_line import readable
from pipeline.console.tables import print_json
from pipeline.published.importing import import_checkpoint


def print_import(
    path: Path,
    network: str,
    output: Path,
    ema: bool,
    resolution: int | None,
    epsilon: float | None,
    as_json: bool,
) -> None:
    """Import, and tell what was found, what was left aside, and the licence."""
    with Console(stderr=True).status(f"reading {path.name}"):
        imported = import_checkpoint(path, network, output, ema, resolution, epsilon)
    origin, ignored = imported.origin, imported.ignored
    if as_json:
        content = {
            "network": origin.network,
            "keys": imported.keys,
            "classes": imported.recognised.space.classes,
            "ignored": list(ignored),
            "licence": origin.licence,
            "sha256": origin.sha256,
            "files": [str(file) for file in imported.files],
        }
        print_json(content)
        return
    lines = {
        "network": origin.network,
        "read": f"{imported.keys} keys of {path}",
        "ignored": ", ".join(ignored) or "nothing",
        "licence": origin.licence,
        "written": ", ".join(map(str, imported.files)),
    }
    for name, text in lines.items():
        print(readable(f"{name:8} {text}"))
