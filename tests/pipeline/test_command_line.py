"""A command line that is none gets one line, too: what is wrong with it, and whose help tells the rest."""

import re
from collections.abc import Callable

import pytest


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trian"], r"deps: .*'trian'.* \(see deps --help\)"),
        (["plan"], r"deps plan: .*'RECIPE'.* \(see deps plan --help\)"),
        (["bench", "step", "--sise", "3"], r"deps bench step: .*--sise.* \(see deps bench step --help\)"),
        (["plan", "x.yaml", "--gpus", "0"], r"deps plan: .*'--gpus'.* \(see deps plan --help\)"),
        (["plan", "x.yaml", "--gpu"], r"deps.*: .*'--gpu'.* \(see deps.* --help\)"),
    ],
    ids=["no command", "no argument", "no such option", "a wrong value", "no value"],
)
def test_a_command_line_that_is_none_is_told_in_one_line(
    deps: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert deps(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(f"{line}\n", told.err), told.err  # in words that are typer's


@pytest.mark.parametrize("arguments", [[], ["bench"], ["shards"]], ids=["deps", "deps bench", "deps shards"])
def test_a_command_of_commands_shows_its_help_where_none_is_given(
    deps: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert deps(*arguments) in (0, 2)  # with older versions of typer 0
    told = capsys.readouterr()
    assert "Commands" in told.out
    assert told.err == ""
