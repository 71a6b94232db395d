"""One rule for every number of every command: ASCII digits, finite, and within bounds that are told."""

from collections.abc import Callable, Iterator
from typing import cast, get_args, get_type_hints

import pytest
import typer
from typer.models import OptionInfo

from cluster.cli import add_commands
from pipeline.cli import app
from tests.support.command_line import deps, refused

CPUS = "--gpus-per-node=0"
NO_NUMBERS = ["٣", "1_0", " 1", "", "0x1", "inf", "-inf", "nan", "1e400", "9" * 5000, "-1", "1" + "0" * 30, "\x1b[31m"]
# Of what `digits` has not; refused with any value.
ELSEWHERE = {(("shards", "pack", "digits"), option) for option in ("--train", "--test", "--seed")}


def commands(group: typer.Typer, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Callable[..., None]]]:
    for command in group.registered_commands:
        yield (*path, str(command.name)), cast(Callable[..., None], command.callback)
    for below in group.registered_groups:
        yield from commands(cast(typer.Typer, below.typer_instance), (*path, str(below.name)))


def of_numbers(hint: object) -> bool:
    """Whether a parameter's type is that of a number, or a list of them."""
    return hint in (int, float) or any(of_numbers(part) for part in get_args(hint))


def options_of_numbers() -> dict[tuple[tuple[str, ...], str], OptionInfo]:
    """Every command's options of numbers."""
    everything = typer.Typer()
    add_commands(everything)
    everything.registered_commands += app.registered_commands
    everything.registered_groups += app.registered_groups
    found = {}
    for path, callback in commands(everything):
        whole_hints = get_type_hints(callback, include_extras=True)
        for name, hint in get_type_hints(callback).items():
            option = (path, f"--{name.replace('_', '-')}")
            if of_numbers(hint) and option not in ELSEWHERE:
                found[option] = whole_hints[name].__metadata__[0]
    return found


NUMBERS = options_of_numbers()


def test_all_options_of_numbers_are_found() -> None:
    assert len(NUMBERS) > 35
    assert (("describe",), "--width") in NUMBERS
    assert (("shards", "pack", "digits100"), "--samples-per-shard") in NUMBERS
    assert (("submit",), "--nodes") in NUMBERS


@pytest.mark.parametrize("option", NUMBERS, ids=[" ".join((*path, option)) for path, option in NUMBERS])
def test_what_is_no_number_within_bounds_is_refused(option: tuple[tuple[str, ...], str]) -> None:
    parse = NUMBERS[option].parser
    assert parse is not None
    for text in NO_NUMBERS:
        with pytest.raises(typer.BadParameter, match=r"is no (whole )?number from \S+ to \S+$") as told:
            parse(text)
        assert len(str(told.value)) < 150
    least, _, most = str(NUMBERS[option].metavar).partition("..")
    assert (parse(least), parse(most)) == (float(least), float(most))


def test_the_line_names_command_option_and_bounds() -> None:
    line = refused(deps("shards", "pack", "digits100", "out", "--seed=-1\x1b"))
    number = r"'-1\x1b' is no whole number from 0 to 4294967295"
    help_of = "(see deps shards pack digits100 --help)"
    assert line == f"deps shards pack digits100: Invalid value for '--seed': {number} {help_of}"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("describe", "mobilenet_v3", "--depth", 9), "stage 1: depth 9 is none of [2, 3, 4]"),
        (("describe", "mobilenet_v3", "--subnet", "d٣-k7-e6-r224"), "'d٣-k7-e6-r224' is no subnet"),
        (("describe", "mobilenet_v3", "--subnet", "d" + "9" * 20 + "-k7-e6-r224"), "stage 1: depth 9999"),
        (
            ("submit", "recipes/digits.yaml", "--nodes=1", CPUS, "--seeds=٣"),
            "--seeds ٣: must be numbers",
        ),
        (("submit", "recipes/digits.yaml", "--nodes=1", CPUS, "--time=٣"), "--time ٣: must be minutes"),
        (("submit", "recipes/digits.yaml", "--nodes=1", CPUS, f"--time={'9' * 5000}"), "--time 999"),
        (("train", "recipes/digits.yaml", "schedule.duration=٣ epochs"), "schedule.duration: is no duration"),
        (("train", "recipes/digits.yaml", f"batch_size={'9' * 5000}"), "override batch_size: line 1: has a number of"),
    ],
    ids=[
        "depth",
        "digits of a subnet",
        "depth of a subnet",
        "seeds",
        "time",
        "endless time",
        "duration",
        "endless size",
    ],
)
def test_so_it_is_with_numbers_in_words(arguments: tuple[object, ...], complaint: str) -> None:
    line = refused(deps(*arguments))
    assert complaint in line
    assert len(line) <= 300
