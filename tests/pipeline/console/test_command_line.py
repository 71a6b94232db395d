"""A command line that is none gets one line, too: what is wrong with it, and whose help tells the rest."""

import re
import sys

import pytest

from pipeline import train
from tests.support.command_line import deps


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trian"], r"deps: .*'trian'.* \(see deps --help\)"),
        ([""], r"deps: .*''.* \(see deps --help\)"),
        (["plan"], r"deps plan: .*'RECIPE'.* \(see deps plan --help\)"),
        (["bench", "step", "--sise", "3"], r"deps bench step: .*--sise.* \(see deps bench step --help\)"),
        (["plan", "x.yaml", "--gpus", "0"], r"deps plan: .*'--gpus'.* \(see deps plan --help\)"),
        (["plan", "x.yaml", "--gpu"], r"deps.*: .*'--gpu'.* \(see deps.* --help\)"),
    ],
    ids=["no such command", "an empty command", "no argument", "no such option", "a wrong value", "no value"],
)
def test_a_command_line_that_is_none_is_told_in_one_line(arguments: list[str], line: str) -> None:
    done = deps(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(f"{line}\n", done.stderr), done.stderr  # in words that are typer's


@pytest.mark.parametrize("arguments", [[], ["bench"], ["shards"], ["shards", "pack"]], ids=" ".join)
def test_a_command_of_commands_shows_its_help_where_none_is_given(arguments: list[str]) -> None:
    done = deps(*arguments)
    assert done.returncode == 2
    assert "Commands" in done.stdout
    name = " ".join(["deps", *arguments])
    assert re.fullmatch(rf"{name}: a command is missing: [\w-]+(, [\w-]+)* \(see {name} --help\)\n", done.stderr), done


@pytest.mark.parametrize("rank", [None, "0", "1"])
@pytest.mark.parametrize(
    ("arguments", "line"),
    [([], "pipeline.train: .*RECIPE.*"), (["x.yaml", "--resum=1"], "pipeline.train: .*--resum.*")],
    ids=["no recipe", "a wrong option"],
)
def test_so_it_is_with_the_program_that_launchers_start_and_by_one_process_only(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    line: str,
    rank: str | None,
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert ended.value.code == 2
    told = capsys.readouterr()
    assert re.fullmatch("" if rank == "1" else rf"{line} \(see --help\)\n", told.err), told.err
