"""Progress bars for long operations on images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    track,
)
from rich.text import Text

_Item = TypeVar("_Item")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} images/s")


def sample_progress() -> Progress:
    """A bar with images done, rate and time left, on the error stream; none where that is no terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


def listing_progress(classes: Sequence[_Item]) -> Iterable[_Item]:
    """The classes one by one, with a bar on the error stream while their images are listed, if that is a terminal."""
    console = Console(stderr=True)
    return track(classes, "listing images", console=console, transient=True, disable=not console.is_terminal)
