"""One input and the command that gets it; and what became of it."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import deps_command
from tests.support.forked import Ended, forked

LONGEST = 500  # characters of a line: 300 of the message's own, and a path or two

# Right ends of an input; all others are faults of the program.
TAKEN, TOLD, REFUSED = "taken as it is", "told of", "refused"


@dataclass(frozen=True)
class Case:
    """An input that lies ready.

    Attributes:
        told: what it is, to find it again.
        work: the command.
        right: whether an end with exit code 0 that says nothing on the error stream is right.
        refusable: False of an input that is whole, and has to be taken.
    """

    told: str
    work: Callable[[], object]
    right: Callable[[Ended], bool]
    refusable: bool = True


def command(*arguments: object) -> Callable[[], None]:
    """`deps ARGUMENTS…`, to be called in a forked process."""

    def work() -> None:
        import sys

        sys.argv = ["deps", *map(str, arguments)]
        deps_command.main()

    return work


def outcome(case: Case, cwd: Path) -> tuple[str, str]:
    """What became of a case (`TAKEN`, `TOLD`, `REFUSED`, or a fault), and what was said."""
    ended = forked(case.work, cwd)
    said = ended.stderr or ended.stdout
    if ended.code is None:
        return "hang", said
    if ended.code < 0:
        return "crash", f"signal {-ended.code}: {said}"
    if "Traceback (most recent call last)" in ended.stderr:
        return "traceback", said
    if ended.code not in (0, 1, 2):
        return "crash", f"exit code {ended.code}: {said}"
    lines = [line for line in ended.stderr.split("\n") if line]
    if any(len(line) > LONGEST for line in lines) or any(map(_is_control, "".join(lines))):
        return "wordy", repr(said)
    if ended.code:
        return (REFUSED if said.strip() and case.refusable else "silent"), said
    if lines:
        return TOLD, said
    return (TAKEN if case.right(ended) else "silent"), said


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs")
