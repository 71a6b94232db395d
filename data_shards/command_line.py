"""What all commands have in common: how numbers are read, and what happens where a command is missing."""

from __future__ import annotations

import math
import re
from typing import Any

import typer
from typer.core import TyperGroup

from data_shards.one_line import shown

# As in recipes: ASCII digits, without the underscores, spaces and scripts that Python's own `int` takes.
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_REAL = re.compile(r"[+-]?([0-9]{1,20}(\.[0-9]{0,20})?|\.[0-9]{1,20})([eE][+-]?[0-9]{1,3})?")

SEEDS = 2**32 - 1  # the largest seed
MANY = 1_000_000_000  # the largest number of anything: more is a slip of the finger


def whole(least: int, most: int, *names: str, **settings: Any) -> Any:
    """An option of a whole number from `least` to `most`; `settings` are typer's."""

    def parse(value: str | int) -> int:
        if not isinstance(value, str):  # a default, with older versions of typer
            return value
        number = int(value) if _WHOLE.fullmatch(value) else None
        if number is None or not least <= number <= most:
            raise typer.BadParameter(f"{shown(value)} is no whole number from {least} to {most}")
        return number

    return typer.Option(*names, parser=parse, metavar=f"{least}..{most}", **settings)


def real(least: float, most: float, *names: str, **settings: Any) -> Any:
    """An option of a number from `least` to `most`; `settings` are typer's."""

    def parse(value: str | float) -> float:
        if not isinstance(value, str):
            return value
        number = float(value) if _REAL.fullmatch(value) else math.nan
        if not least <= number <= most:
            raise typer.BadParameter(f"{shown(value)} is no number from {least:g} to {most:g}")
        return number

    return typer.Option(*names, parser=parse, metavar=f"{least:g}..{most:g}", **settings)


class CommandGroup(TyperGroup):
    """Commands of which one must be given. Without one, help and an error are shown, with all versions of typer."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            if text := ctx.get_help():  # with rich, it is printed there
                typer.echo(text)
            ctx.fail(f"a command is missing: {', '.join(self.list_commands(ctx))}")
        return super().parse_args(ctx, args)
