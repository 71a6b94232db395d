"""The page of a suite: where it ran, how each part went, and what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.bench.suite.part import Outcome, Part

_NOT_YET = Outcome("skipped", why="not run yet")


def page(title: str, place: str, parts: Sequence[Part], outcomes: Mapping[str, Outcome]) -> str:
    """Markdown; of a suite that is not through, parts that were not reached say so.

    Args:
        place: machine and versions, in a line.
        outcomes: by the part's name.
    """
    lines = [f"# {title}", "", f"{place}.", "", f"**{counted(outcomes)}**", ""]
    lines += ["| part | outcome | seconds | limit | why |", "|---|---|---:|---:|---|"]
    for part in parts:
        outcome = outcomes.get(part.name, _NOT_YET)
        why = outcome.why.replace("|", "\\|")
        log = f"[{part.name}]({part.log})" if outcome.seconds else part.name
        lines.append(f"| {log} | {outcome.status} | {outcome.seconds:.0f} | {part.limit:g} | {why} |")
    for part in parts:
        if found := outcomes.get(part.name, _NOT_YET).found:
            lines += ["", f"## {part.name}", "", *found]
    return "\n".join([*lines, ""])


def counted(outcomes: Mapping[str, Outcome]) -> str:
    """How many parts went how: "7 passed, 1 failed"."""
    statuses = [outcome.status for outcome in outcomes.values()]
    return (
        ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses)) or "nothing has run yet"
    )
