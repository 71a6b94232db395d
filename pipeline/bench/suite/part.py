"""A part of a suite: a command with a limit of time; and how it went."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Status = Literal["passed", "failed", "timed out", "skipped"]


@dataclass(frozen=True)
class Part:
    """A command, and what is told of what it wrote.

    Attributes:
        name: of its files, too: what it prints goes to `output`, its error stream to NAME.log.
        limit: seconds after which it is killed with all that it has started.
        told: what it found, as lines of Markdown, from the folder of results. Raises OSError or ValueError where its
            output is not whole.
        needs: the part that must have passed before.
        lacks: what this machine lacks for it, in words; None where it can run.
    """

    name: str
    command: Sequence[str]
    limit: float
    output: str
    told: Callable[[Path], list[str]]
    needs: str | None = None
    lacks: Callable[[], str | None] = lambda: None

    @property
    def log(self) -> str:
        return f"{self.name}.log"


@dataclass(frozen=True)
class Outcome:
    """How a part went.

    Attributes:
        seconds: that it took.
        why: it did not pass, in words; empty where it did.
        found: lines of Markdown.
    """

    status: Status
    seconds: float = 0.0
    why: str = ""
    found: Sequence[str] = ()

    @property
    def is_failure(self) -> bool:
        return self.status in ("failed", "timed out")
